/** The long fuzzing, for a short time. The decoders themselves are fed by their packages' tests. */
import { expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { soakFuzz } from '../src/soak/fuzz.ts'
import { fuzzTarget, fuzzTargets } from '../src/soak/fuzz-targets.ts'

setDefaultTimeout(60_000)

test('all targets are fed, by all processes together, with as many inputs as asked for', async () => {
  const report = await soakFuzz({ inputs: 2000, seed: 3, processes: 2 })
  expect(report.failures).toEqual([])
  expect(report.inputs).toBeWithin(1990, 2010 + fuzzTargets.length)
})

test('names of targets are unique, and an unknown one is told', () => {
  expect(new Set(fuzzTargets.map(({ name }) => name)).size).toBe(fuzzTargets.length)
  expect(() => fuzzTarget('teapot')).toThrow('http-head')
})

test('an input at which a decoder hangs or crashes is told, with the command that shows it again', async () => {
  const program = join(import.meta.dir, 'fuzz-hanging.ts')
  const { failures, inputs } = await soakFuzz({ inputs: 10, seed: 1, processes: 2, hangTime: 1000, program })
  expect(inputs).toBe(6)
  const name = fuzzTargets[3]?.name
  const [hung, crashed] = failures.toSorted()
  const both = [hung, crashed].join()
  expect(both).toContain('no end after 1000 ms')
  expect(both).toContain('ended with SIGSEGV')
  for (const failure of [hung, crashed]) {
    expect(failure).toContain(`fuzzing ${name}: seed 1, input 2,`)
    expect(failure).toMatch(new RegExp(`fuzz-program.ts replay ${name} ([0-9a-f]{2})+$`))
  }
})

test('an input can be fed again', async () => {
  const replay = async (...words: string[]) => {
    const program = join(import.meta.dir, '../src/soak/fuzz-program.ts')
    const child = Bun.spawn([process.execPath, program, 'replay', ...words], { stdout: 'pipe', stderr: 'pipe' })
    return { text: await child.stdout.text(), code: await child.exited }
  }
  expect(await replay('http-head', '474554')).toEqual({ text: 'http-head stands these 3 bytes\n', code: 0 })
  expect((await replay('teapot', '00')).code).toBe(1)
})
