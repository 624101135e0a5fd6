import type { FlowKey, HoldRule, OriginConnection, PutOutcome, Rule, RuleTable, TcpSnapshot } from '@xoffload/core'

/**
 * Ways to take out what keeps an invariant, so that a test shows that it would notice:
 * `no-lock` puts no hold at the origin, `no-freeze` lets the origin's socket go on as well, `close-early` closes it before the commit
 * without a lock, `gap` removes the hold before it steers, `drop-held` discards held packets, `loud-target` puts no hold at the
 * target.
 */
export const SABOTAGES = ['no-lock', 'no-freeze', 'close-early', 'gap', 'drop-held', 'loud-target'] as const
export type Sabotage = (typeof SABOTAGES)[number]

/** What the environment asks for. */
export function requestedSabotage(): Sabotage | undefined {
  return SABOTAGES.find((sabotage) => sabotage === process.env.XOFFLOAD_SABOTAGE)
}

/** Milliseconds that the environment wants the commit to be late. */
function requestedDelay(): number {
  return Number(process.env.XOFFLOAD_STEER_DELAY ?? 0)
}

/** Bytes that the environment wants each origin to write when its flow is locked: nobody acknowledges them before the move. */
export function requestedUnacknowledged(): number {
  return Number(process.env.XOFFLOAD_UNACKNOWLEDGED ?? 0)
}

/** Whether the environment wants packets of the client to pass each lock once the snapshot is taken. */
function requestedLatePackets(): boolean {
  return process.env.XOFFLOAD_LATE_PACKETS !== undefined
}

/** How long a lock that lets late packets pass is open, in milliseconds. */
const LATE = 2
/** The longest gap between hold and steer, in milliseconds: in it a client sends again what nobody has acknowledged. */
const LONGEST_GAP = 500

/** What a rule table that misbehaves tells and asks. */
export interface SabotageHooks {
  /** The flow is locked and its socket not frozen yet. */
  readonly onHeld: (flow: FlowKey) => void
  readonly onSteered: (flow: FlowKey) => void
  /** Whether a packet has ended in the flow's frozen socket. */
  readonly swallowed: (flow: FlowKey) => boolean
}

/** A rule table that misbehaves, and tells when a flow was locked and steered. */
export class SabotagedRules implements RuleTable {
  readonly #rules: RuleTable
  readonly #sabotage: Sabotage | undefined
  readonly #hooks: SabotageHooks
  readonly #delay = requestedDelay()
  readonly #latePackets = requestedLatePackets()
  /** The flows whose late packets have passed, by `FlowKey.id`: the next attempt to move such a one is not disturbed. */
  readonly #passed = new Set<string>()

  constructor(rules: RuleTable, sabotage: Sabotage | undefined, hooks: SabotageHooks) {
    this.#rules = rules
    this.#sabotage = sabotage
    this.#hooks = hooks
  }

  async put(rule: Rule): Promise<PutOutcome> {
    if (rule.action === 'hold') return this.#hold(rule)
    if (this.#delay > 0) await Bun.sleep(this.#delay)
    if (this.#sabotage === 'gap') {
      await this.#rules.remove(rule.flow)
      const end = performance.now() + LONGEST_GAP
      while (!this.#hooks.swallowed(rule.flow) && performance.now() < end) await Bun.sleep(1)
    }
    const outcome = await this.#rules.put(rule)
    this.#hooks.onSteered(rule.flow)
    return outcome
  }

  remove(flow: FlowKey): Promise<boolean> {
    return this.#rules.remove(flow)
  }

  async #hold(rule: HoldRule): Promise<PutOutcome> {
    const lockless: readonly (Sabotage | undefined)[] = ['no-lock', 'no-freeze', 'close-early']
    const outcome = lockless.includes(this.#sabotage) ? 'active' : await this.#rules.put(rule)
    if (rule.silent === true && this.#latePackets && !this.#passed.has(rule.flow.id)) {
      this.#passed.add(rule.flow.id)
      await this.#rules.remove(rule.flow)
      await Bun.sleep(LATE)
      return await this.#rules.put(rule)
    }
    this.#hooks.onHeld(rule.flow)
    return outcome
  }
}

/** An origin that misbehaves, and tells when it was frozen and before it is given up. */
export function sabotagedOrigin(
  connection: OriginConnection,
  sabotage: Sabotage | undefined,
  hooks: { readonly onSnapshot: (snapshot: TcpSnapshot) => void; readonly onRelease: () => void },
): OriginConnection {
  return {
    flow: connection.flow,
    freeze: () => connection.freeze(),
    snapshot() {
      const snapshot = connection.snapshot()
      if (sabotage === 'no-freeze') connection.thaw()
      if (sabotage === 'close-early') connection.release()
      hooks.onSnapshot(snapshot)
      return snapshot
    },
    verify: () => {
      if (sabotage === undefined) connection.verify()
    },
    thaw: () => connection.thaw(),
    release: () => {
      hooks.onRelease()
      connection.release()
    },
    reset: () => connection.reset(),
  }
}
