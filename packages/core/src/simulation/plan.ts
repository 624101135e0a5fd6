import type { CoordinatorLimits } from '../handoff/coordinator-state.ts'
import type { OriginLimits } from '../handoff/origin-state.ts'
import type { TargetLimits } from '../handoff/target-state.ts'
import type { Random } from './random.ts'

/** Milliseconds, in the proportions of the defaults, and short like everything here. */
const COORDINATOR_LIMITS: CoordinatorLimits = {
  lock: 50,
  take: 100,
  accept: 100,
  steer: 50,
  commit: 250,
  resend: 20,
  grace: 50,
  unlock: 50,
  retry: 10,
}
const TARGET_LIMITS: TargetLimits = { lock: 50, prepared: 800, adopt: 200, unlock: 50, retry: 10 }
const ORIGIN_LIMITS: OriginLimits = {
  lock: 50,
  decision: 2500,
  forward: 50,
  grace: 50,
  unlock: 50,
  retry: 10,
}
const PATIENT: Limits = { coordinator: COORDINATOR_LIMITS, target: TARGET_LIMITS, origin: ORIGIN_LIMITS }
/** Waits that hardly outlast an outage: then connections are given up that might have lived. */
const IMPATIENT: Limits = {
  coordinator: { ...COORDINATOR_LIMITS, commit: 20, accept: 20 },
  target: { ...TARGET_LIMITS, prepared: 60 },
  origin: { ...ORIGIN_LIMITS, decision: 80 },
}

interface Limits {
  readonly coordinator: CoordinatorLimits
  readonly target: TargetLimits
  readonly origin: OriginLimits
}

/** How long the rule of an ended connection catches late packets. */
export const LINGER = 50
/** How long a gateway waits for servers that it has not heard of since its start. */
export const REPORT_TIMEOUT = 500
/** How long a gateway waits for a server that has gone. */
export const SERVER_TIMEOUT = 900
/** A control channel that is down for longer may cost connections. */
export const LONG_OUTAGE = 200

/** Which process or host dies, at which of its steps or at what time, and when it is back. */
export interface CrashPlan {
  readonly victim: 'gateway' | 'server'
  readonly server: number
  readonly what: 'process' | 'host'
  /** The number of the step at which it dies. 0: at `time` instead, microseconds. */
  readonly step: number
  readonly time: number
  /** It dies when it has thawed a connection, instead. */
  readonly thawed: boolean
  /** Milliseconds. */
  readonly downtime: number
}

/** What a seed decides at the start. All else is decided on the way, by the same random numbers. */
export interface Plan {
  readonly servers: number
  readonly connections: number
  /** Handoffs that are asked for, of each connection. */
  readonly moves: number
  /** Microseconds that a packet takes, at least and at most. */
  readonly delay: readonly [number, number]
  /** Probabilities for each packet. */
  readonly loss: number
  readonly duplication: number
  readonly reordering: boolean
  /** Redirectors take time for each operation, up to so many microseconds; 0: they are synchronous. */
  readonly redirectorDelay: number
  /** Operations of redirectors that go wrong: fewer than it takes to make a removal fail for good. */
  readonly redirectorFaults: number
  readonly applicationFaults: number
  /** The hosts do not wait for each other as long as they should. */
  readonly impatient: boolean
  readonly limits: Limits
  /** When control channels break, and for how long they are down: microseconds and milliseconds. */
  readonly outages: readonly { readonly server: number; readonly time: number; readonly downtime: number }[]
  readonly crashes: readonly CrashPlan[]
  /** Clients connect to a program in front of the gateway's process, which outlives it. */
  readonly front: boolean
}

/** When the last fault and the last order of a move may come, in microseconds after the start. */
export const ACTIVE_TIME = 150_000

/** Chooses a schedule. */
export function makePlan(random: Random): Plan {
  const servers = random.between(2, 3)
  const lossy = random.chance(0.25)
  const impatient = random.chance(0.15)
  const front = random.chance(0.3)
  return {
    servers,
    connections: random.pick([1, 1, 1, 2, 2, 3]),
    moves: random.between(1, 4),
    delay: random.pick([
      [50, 50],
      [20, 300],
      [100, 3000],
    ] as const),
    loss: lossy ? random.pick([0.01, 0.05, 0.2]) : 0,
    duplication: lossy ? random.pick([0, 0.02, 0.1]) : 0,
    reordering: random.chance(0.3),
    redirectorDelay: random.pick([0, 0, 300, 4000]),
    redirectorFaults: random.chance(front ? 0.5 : 0.25) ? random.between(1, 2) : 0,
    applicationFaults: random.chance(0.08) ? 1 : 0,
    impatient,
    limits: impatient ? IMPATIENT : PATIENT,
    outages: random.chance(0.35) ? Array.from({ length: random.between(1, 4) }, () => makeOutage(random, servers)) : [],
    crashes: makeCrashes(random, servers, front),
    front,
  }
}

const CRASH_IN_ROLLBACK = { victim: 'gateway', what: 'process', thawed: true } as const

function makeOutage(random: Random, servers: number): Plan['outages'][number] {
  const downtime = random.chance(0.1) ? random.between(LONG_OUTAGE, 2000) : random.between(1, LONG_OUTAGE / 2)
  return { server: random.below(servers), time: random.below(ACTIVE_TIME), downtime }
}

function makeCrashes(random: Random, servers: number, front: boolean): CrashPlan[] {
  // What the front and a target may both go on with is a connection whose rollback ends in the middle.
  const first = front && random.chance(0.5) ? [{ ...makeCrash(random, servers), ...CRASH_IN_ROLLBACK }] : []
  if (random.chance(0.6)) return first
  return [...first, ...Array.from({ length: random.pick([1, 1, 2]) }, () => makeCrash(random, servers))]
}

function makeCrash(random: Random, servers: number): CrashPlan {
  return {
    victim: random.pick(['gateway', 'server']),
    server: random.below(servers),
    what: random.chance(0.75) ? 'process' : 'host',
    step: random.chance(0.8) ? random.between(1, 40) : 0,
    time: random.below(ACTIVE_TIME),
    thawed: random.chance(0.2),
    downtime: random.between(5, 150),
  }
}
