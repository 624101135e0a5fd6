import { expect, test } from 'bun:test'
import { join } from 'node:path'

const program = join(import.meta.dir, 'closing-service.ts')

/** A service that takes `milliseconds` to close, and the lines that it prints. */
function service(milliseconds: number) {
  const child = Bun.spawn([process.execPath, program, `${milliseconds}`], { stdout: 'pipe', stderr: 'inherit' })
  let text = ''
  const reader = child.stdout.getReader()
  const decoder = new TextDecoder()
  const line = async (word: string): Promise<void> => {
    while (!text.includes(word)) {
      const { value, done } = await reader.read()
      if (done) throw new Error(`the service ended, and has said ${text}`)
      text += decoder.decode(value)
    }
  }
  return { child, line }
}

test('a signal that comes twice, from the terminal and from npx, does not keep a service from closing', async () => {
  const { child, line } = service(3000)
  await line('ready')
  child.kill('SIGINT')
  await line('closing')
  child.kill('SIGINT')
  child.kill('SIGTERM')
  await line('closed')
  expect([await child.exited, child.signalCode]).toEqual([0, null])
})

test('a service that does not end its closing is ended by a later signal', async () => {
  const { child, line } = service(60_000)
  await line('ready')
  child.kill('SIGTERM')
  await line('closing')
  const again = setInterval(() => child.kill('SIGTERM'), 100)
  await child.exited
  clearInterval(again)
  expect(child.signalCode).toBe('SIGTERM')
})
