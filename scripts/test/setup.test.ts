import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Set-up runs on Node, and so do these: Bun only starts it.
const setup = join(import.meta.dir, '../setup')

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xoffload-setup-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

function node(source: string) {
  return Bun.spawn(['node', '--input-type=module', '--eval', source], {
    cwd: directory,
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

/** Holds the lock for a moment and writes down when it had it. */
const locker = `
  import { appendFileSync } from 'node:fs'
  import { withLock } from '${setup}/lock.mjs'
  await withLock('run/lock', () => {
    appendFileSync('log', 'in ')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    appendFileSync('log', 'out ')
  })`

describe('the set-up lock', () => {
  test('lets one process in at a time and leaves no file', async () => {
    const ends = await Promise.all(Array.from({ length: 4 }, () => node(locker).exited))
    expect(ends).toEqual([0, 0, 0, 0])
    expect(await readFile(join(directory, 'log'), 'utf8')).toBe('in out in out in out in out ')
    expect(await readdir(join(directory, 'run'))).toEqual([])
  })

  test('of a dead process is taken by one of those that wait', async () => {
    const dead = node('process.exit()')
    await dead.exited
    await Bun.write(join(directory, 'run/lock'), `${dead.pid} 1`)
    await Promise.all(Array.from({ length: 4 }, () => node(locker).exited))
    expect(await readFile(join(directory, 'log'), 'utf8')).toBe('in out in out in out in out ')
  })

  test('of a process whose pid was given to another is taken', async () => {
    await Bun.write(join(directory, 'run/lock'), `${process.pid} 1`)
    expect(await node(locker).exited).toBe(0)
  })

  test('is released when the set-up fails', async () => {
    const failing = node(`
      import { withLock } from '${setup}/lock.mjs'
      await withLock('run/lock', () => { throw new Error('no network') })`)
    expect(await failing.exited).toBe(1)
    expect(await readdir(join(directory, 'run'))).toEqual([])
  })
})

describe('a command that runs in place', () => {
  const inPlace = (program: string[]) => `
    import { runInPlace } from '${setup}/child.mjs'
    const end = await runInPlace(${JSON.stringify(program[0])}, ${JSON.stringify(program.slice(1))}, { cwd: '.', env: process.env })
    console.log(JSON.stringify(end))`

  test('hands on its exit code', async () => {
    const parent = node(inPlace(['sh', '-c', 'exit 7']))
    expect(await parent.stdout.text()).toBe('{"code":7,"signal":null}\n')
  })

  test('gets the signals, one for two of the same', async () => {
    await writeFile(
      join(directory, 'child.mjs'),
      `let count = 0
       process.on('SIGINT', () => console.log(++count))
       process.on('SIGTERM', () => process.exit(10 + count))
       setInterval(() => {}, 1000)
       console.log('ready')`,
    )
    const parent = node(inPlace(['node', 'child.mjs']))
    const reader = parent.stdout.getReader()
    const decoder = new TextDecoder()
    const output = async () => decoder.decode((await reader.read()).value)
    expect(await output()).toBe('ready\n')
    parent.kill('SIGINT')
    expect(await output()).toBe('1\n')
    parent.kill('SIGINT')
    parent.kill('SIGTERM')
    expect(await output()).toBe('{"code":11,"signal":null}\n')
  })
})

test("the guest's kernel is missing only where it is needed, and until it is there", async () => {
  const missing = node(`
    import { guestKernel } from '${setup}/guest-kernel.mjs'
    import { mkdirSync, writeFileSync } from 'node:fs'
    const report = () => [true, false].map((needed) => guestKernel('.', needed).isMissing())
    const before = report()
    mkdirSync('.tools/guest/kernel', { recursive: true })
    writeFileSync('.tools/guest/kernel/release', '6.1.0-1-amd64')
    console.log(JSON.stringify([before, report()]))`)
  expect(await missing.stdout.json()).toEqual([
    [true, false],
    [false, false],
  ])
})

test('a command that is unknown ends with one sentence and no stack', async () => {
  const child = Bun.spawn(['node', join(import.meta.dir, '../run.mjs'), 'nonsense'], { stdout: 'pipe', stderr: 'pipe' })
  expect(await child.exited).toBe(1)
  expect(await child.stderr.text()).toMatch(/^xoffload: no command "nonsense"; there are demo, .*\.\n$/)
  expect(await child.stdout.text()).toBe('')
})
