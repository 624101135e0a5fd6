import { afterAll, expect, test } from 'bun:test'
import { closeSync, openSync } from 'node:fs'
import { waitReadable } from '../src/index.ts'

// A listener that nobody connects to: never readable.
const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
const silent = (listener as unknown as { fd: number }).fd
const readable = openSync('/dev/zero', 'r')

afterAll(() => {
  listener.stop()
  closeSync(readable)
})

test('waits until one can be read, no longer than it is told, and tells which', () => {
  const started = performance.now()
  expect(waitReadable([silent, readable])).toEqual([false, true])
  expect(waitReadable([silent], 0)).toEqual([false])
  expect(performance.now() - started).toBeLessThan(1000)
  const before = performance.now()
  expect(waitReadable([silent], 20_500)).toEqual([false])
  expect(performance.now() - before).toBeGreaterThanOrEqual(20.4)
  // A descriptor that is not open is an error of that one, not of the call.
  expect(waitReadable([silent, 999_999], 1_000_000)).toEqual([false, true])
})
