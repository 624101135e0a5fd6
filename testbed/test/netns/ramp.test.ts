import { expect, test } from 'bun:test'
import { type RampRun, runRamp } from '../../src/ramp/run.ts'

/** A retransmission timeout would be 200 ms or more. */
const LONGEST_STALL = 100

function expectWhole({ client, origin, targets, resets }: RampRun, connections: number): void {
  expect(client.failures).toEqual([])
  expect(client.completed).toBe(connections)
  expect(origin.failures).toEqual([])
  expect(origin.handedOff).toBe(connections)
  expect(targets.flatMap(({ failures }) => failures)).toEqual([])
  expect(targets.reduce((sum, { adopted }) => sum + adopted, 0)).toBe(connections)
  expect(resets).toEqual({ gateway: 0, servers: 0 })
}

function describeStalls(stalls: readonly number[]): string {
  const at = (fraction: number) => (stalls[Math.ceil(fraction * stalls.length) - 1] ?? Number.NaN).toFixed(1)
  return `stalls in ms: p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, p99.9 ${at(0.999)}, max ${at(1)}`
}

test('10,000 connections move in mid-stream: every byte arrives once and in order, without RST and without a long stall', async () => {
  const connections = 10_000
  const run = await runRamp({ connections, concurrency: 12 })
  console.log(
    `${connections} connections, ${(connections / run.client.seconds).toFixed(0)} per second, ${run.origin.rolledBack} rolled back and tried again; ${describeStalls(run.client.stalls)}`,
  )
  expectWhole(run, connections)
  const uploads = run.targets.reduce((sum, { uploadInFlight }) => sum + uploadInFlight, 0)
  expect(uploads).toBeGreaterThan(connections * 0.3)
  // The move is only worth its name when queues were not empty.
  expect(run.origin.queues.received).toBeGreaterThan(connections * 0.1)
  expect(run.origin.queues.sent).toBeGreaterThan(connections * 0.3)
  expect(run.origin.queues.unsent).toBeGreaterThan(connections * 0.1)
  expect(run.client.stalls.at(-1)).toBeLessThan(LONGEST_STALL)
}, 300_000)

test('the same over IPv6', async () => {
  const run = await runRamp({ connections: 500, concurrency: 8, family: 6 })
  expectWhole(run, 500)
  expect(run.client.stalls.at(-1)).toBeLessThan(LONGEST_STALL)
}, 60_000)
