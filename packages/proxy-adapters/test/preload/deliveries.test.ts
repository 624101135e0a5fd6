// When a delivery has failed, by a clock that the test holds.
import { afterEach, beforeEach, expect, jest, test } from 'bun:test'
import { unixPair } from '@xoffload/linux'
import { Deliveries } from '../../src/preload/deliveries.ts'
import type { PreloadError } from '../../src/preload/errors.ts'
import type { Mailbox } from '../../src/preload/mailbox.ts'
import { closeFd } from '../established-socket.ts'

/** Milliseconds: the deliveries' own. */
const TICK = 10

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

/** One delivery whose time is over at once. `withdrawn`: what the mailbox still has when it is asked for the connection back. */
function deliver(withdrawn: number | undefined) {
  const [fd, other] = unixPair()
  closeFd(other)
  const failures: [PreloadError['reason'], number | undefined][] = []
  const mailbox = { post: () => true, withdraw: () => withdrawn } as unknown as Mailbox
  const deliveries = new Deliveries({
    listener: undefined,
    mailbox,
    secret: new Uint8Array(16),
    timeout: 0,
    maximum: 1,
  })
  deliveries.add({
    item: { connection: 1n, watch: false, requests: 0 },
    fd,
    unsent: new Uint8Array(0),
    isBack: false,
    onFailed: ({ reason }, fd) => failures.push([reason, fd]),
  })
  return { deliveries, failures }
}

test('the word that a connection was taken counts when this process was too late to read it before the deadline', () => {
  const { deliveries, failures } = deliver(undefined)
  // It was stopped, and its clock is heard before its sockets.
  jest.advanceTimersByTime(TICK)
  expect(deliveries.taken(1n)).toBe(true)
  jest.advanceTimersByTime(10 * TICK)
  expect([failures, deliveries.size]).toEqual([[], 0])
})

test('a connection that nobody has taken or told of fails right after that', () => {
  for (const withdrawn of [7, undefined]) {
    const { deliveries, failures } = deliver(withdrawn)
    jest.advanceTimersByTime(2 * TICK)
    expect([failures, deliveries.size]).toEqual([[['timeout', withdrawn]], 0])
  }
})
