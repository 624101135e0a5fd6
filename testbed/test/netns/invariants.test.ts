/**
 * The invariants of CONTRIBUTING.md that show on the wire, each seen from outside and each with the proof that the test would notice:
 * the same run with the code that keeps the invariant taken out. Invariant 6 is tested where snapshots are taken and restored, in
 * packages/linux/test/netns.
 */
import { beforeAll, describe, expect, test } from 'bun:test'
import { longestStall, type RampOptions, type RampRun, runRamp } from '../../src/ramp/run.ts'

const TIMEOUT = 60_000
/** The longest that a segment is on its way from one host to the other on a busy machine, in milliseconds. */
const SLACK = 150
/** The shortest retransmission timeout is 200 ms (TCP_RTO_MIN); what the machine is busy with otherwise comes on top. */
const RETRANSMISSION = 180
const options: RampOptions = { connections: 60, concurrency: 4, sniff: true }
// The commit is 1.3 s late: longer than the first retransmission timeout of a restored socket, which is one second. Each has something
// to send again.
const late: RampOptions = { ...options, connections: 12, concurrency: 12, steerDelay: 1300, unacknowledged: 4096 }

// The runs with everything in its place, which several invariants are read from.
let plainRun: RampRun
let lateRun: RampRun
beforeAll(async () => {
  plainRun = await runRamp(options)
  lateRun = await runRamp(late)
}, TIMEOUT)

const resets = ({ segments }: RampRun) => segments.filter(({ rst }) => rst).length

/** Segments that hosts sent to a client on a flow between the moment its snapshot was taken and its commit. */
function saidBeforeCommit({ segments, traces }: RampRun, macs: readonly string[]): number {
  let count = 0
  for (const { trace, flow, at: frozenAt } of traces) {
    if (trace !== 'frozen') continue
    const steeredAt =
      traces.find((other) => other.trace === 'steered' && other.flow === flow)?.at ?? Number.POSITIVE_INFINITY
    const port = Number(/:(\d+)>/.exec(flow)?.[1])
    count += segments.filter(
      ({ at, sourceMac, destinationPort }) =>
        destinationPort === port && macs.includes(sourceMac) && at > frozenAt + SLACK && at < steeredAt - SLACK,
    ).length
  }
  return count
}

describe('1: no live flow is on a host without a socket and without a lock', () => {
  test('no RST in 60 moves', () => {
    expect(plainRun.client.failures).toEqual([])
    expect(resets(plainRun)).toBe(0)
  })
  test(
    'a socket that is closed before the commit, without a lock, draws RST',
    async () => {
      expect(resets(await runRamp({ ...options, sabotage: 'close-early' }))).toBeGreaterThan(0)
    },
    TIMEOUT,
  )
})

describe('2: hold becomes steer in one step', () => {
  test('nothing that the client sends is lost to the gateway', () => {
    expect(plainRun.origin.swallowed).toBe(0)
    expect(longestStall(plainRun)).toBeLessThan(RETRANSMISSION)
  })
  test(
    'with a gap between the two, packets end in the frozen socket',
    async () => {
      const gap: RampOptions = { connections: 12, concurrency: 12, unacknowledged: 4096, sabotage: 'gap' }
      expect((await runRamp(gap)).origin.swallowed).toBeGreaterThan(0)
    },
    TIMEOUT,
  )
})

describe('3: a target says nothing before the commit', () => {
  test('not even when its retransmission timer expires', () => {
    expect(lateRun.client.failures).toEqual([])
    expect(lateRun.origin.queues.sent).toBeGreaterThan(0)
    expect(saidBeforeCommit(lateRun, lateRun.macs.servers)).toBe(0)
  })
  test(
    'without the lock at the target it does',
    async () => {
      const run = await runRamp({ ...late, sabotage: 'loud-target' })
      expect(saidBeforeCommit(run, run.macs.servers)).toBeGreaterThan(0)
    },
    TIMEOUT,
  )
})

describe('4: a held packet reaches its target', () => {
  test('no move costs a retransmission timeout', () => {
    expect(plainRun.origin.discarded).toBe(0)
    expect(longestStall(plainRun)).toBeLessThan(RETRANSMISSION)
  })
  test(
    'with no room for held packets, they are lost',
    async () => {
      // Not every loss shows as a stall: a tail loss probe of the client or a window probe of the target mends many sooner.
      const { origin } = await runRamp({ connections: 500, concurrency: 16, sabotage: 'drop-held' })
      expect(origin.discarded).toBeGreaterThan(0)
    },
    TIMEOUT,
  )
})

describe('5: frozen means silent', () => {
  test('the gateway says nothing on a flow from the snapshot on', () => {
    expect(lateRun.traces.some(({ trace }) => trace === 'frozen')).toBe(true)
    expect(saidBeforeCommit(lateRun, [lateRun.macs.gateway])).toBe(0)
  })
  test(
    'a socket that goes on is heard',
    async () => {
      const run = await runRamp({ ...late, sabotage: 'no-freeze' })
      expect(saidBeforeCommit(run, [run.macs.gateway])).toBeGreaterThan(0)
    },
    TIMEOUT,
  )
})
