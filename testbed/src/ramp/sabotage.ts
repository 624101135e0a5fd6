import type { FlowKey, OriginConnection, PutOutcome, Rule, RuleTable, TcpSnapshot } from '@xoffload/core'

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
export function requestedDelay(): number {
  return Number(process.env.XOFFLOAD_STEER_DELAY ?? 0)
}

/** A rule table that misbehaves, and tells when a flow was steered. */
export class SabotagedRules implements RuleTable {
  readonly #rules: RuleTable
  readonly #sabotage: Sabotage | undefined
  readonly #delay: number
  readonly #onSteered: (flow: FlowKey) => void

  constructor(rules: RuleTable, sabotage: Sabotage | undefined, delay: number, onSteered: (flow: FlowKey) => void) {
    this.#rules = rules
    this.#sabotage = sabotage
    this.#delay = delay
    this.#onSteered = onSteered
  }

  async put(rule: Rule): Promise<PutOutcome> {
    const lockless: readonly (Sabotage | undefined)[] = ['no-lock', 'no-freeze', 'close-early', 'loud-target']
    if (rule.action === 'hold') return lockless.includes(this.#sabotage) ? 'active' : this.#rules.put(rule)
    if (this.#delay > 0) await Bun.sleep(this.#delay)
    if (this.#sabotage === 'gap') {
      await this.#rules.remove(rule.flow)
      await Bun.sleep(2)
    }
    const outcome = await this.#rules.put(rule)
    this.#onSteered(rule.flow)
    return outcome
  }

  remove(flow: FlowKey): Promise<boolean> {
    return this.#rules.remove(flow)
  }
}

/** An origin that misbehaves, and tells when it was frozen. */
export function sabotagedOrigin(
  connection: OriginConnection,
  sabotage: Sabotage | undefined,
  onSnapshot: (snapshot: TcpSnapshot) => void,
): OriginConnection {
  return {
    flow: connection.flow,
    freeze: () => connection.freeze(),
    snapshot() {
      const snapshot = connection.snapshot()
      if (sabotage === 'no-freeze') connection.thaw()
      if (sabotage === 'close-early') connection.release()
      onSnapshot(snapshot)
      return snapshot
    },
    verify: () => {
      if (sabotage === undefined) connection.verify()
    },
    thaw: () => connection.thaw(),
    release: () => connection.release(),
    reset: () => connection.reset(),
  }
}
