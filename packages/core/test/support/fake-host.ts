import type {
  FlowKey,
  OriginConnection,
  PutOutcome,
  RestoredConnection,
  Rule,
  RuleTable,
  TcpSnapshot,
} from '../../src/index.ts'

/** How a call of a port goes wrong: it throws, its promise rejects, it is never answered, or answered when it is cancelled. */
export type Fault = 'throw' | 'reject' | 'hang' | 'slow'

/** What all fakes of one scene share: the calls in order, and what is to go wrong. */
export class Journal {
  readonly calls: string[] = []
  /** By call: its faults in turn; the last one stays. A call without faults succeeds. */
  readonly faults = new Map<string, (Fault | undefined)[]>()
  /** What must never happen and did. An exception would not do: the drivers take it for a port that failed. */
  readonly violations: string[] = []
  /** Looks for violations; called after every call. */
  check: () => void = () => {}

  /** Notes the call and says how it is to go wrong. */
  enter(call: string): Fault | undefined {
    this.calls.push(call)
    const faults = this.faults.get(call)
    return faults && faults.length > 1 ? faults.shift() : faults?.[0]
  }

  sync<T>(call: string, succeed: () => T): T {
    if (this.enter(call)) throw new Error(`${call} was made to fail`)
    const result = succeed()
    this.check()
    return result
  }

  async async<T>(call: string, succeed: () => T, signal?: AbortSignal): Promise<T> {
    const fault = this.enter(call)
    if (fault === 'hang') return new Promise(() => {})
    if (fault === 'slow') await new Promise((resolve) => signal?.addEventListener('abort', resolve))
    else await Promise.resolve()
    if (fault === 'reject') throw new Error(`${call} was made to fail`)
    const result = succeed()
    this.check()
    return result
  }
}

/** The rules of one host. */
export class FakeRules implements RuleTable {
  readonly rules = new Map<string, Rule>()
  /** The flows that have ever been steered. */
  readonly steered = new Set<string>()

  constructor(
    readonly host: string,
    readonly journal: Journal,
  ) {}

  put(rule: Rule, { signal }: { signal?: AbortSignal } = {}): Promise<PutOutcome> {
    const call = `${this.host}.${this.#nameOf(rule)}`
    if (this.journal.faults.get(call)?.[0] === 'throw') return this.journal.sync(call, () => Promise.resolve('active'))
    const succeed = (): PutOutcome => {
      if (rule.action === 'steer') this.steered.add(rule.flow.id)
      this.rules.set(rule.flow.id, rule)
      return 'active'
    }
    return this.journal.async(call, succeed, signal)
  }

  remove(flow: FlowKey): Promise<boolean> {
    const call = `${this.host}.remove`
    if (this.journal.faults.get(call)?.[0] === 'throw') return this.journal.sync(call, () => Promise.resolve(true))
    return this.journal.async(call, () => this.rules.delete(flow.id))
  }

  #nameOf(rule: Rule): string {
    if (rule.action !== 'hold') return rule.action
    if (rule.silent) return 'silence'
    return this.isSilent(rule.flow) ? 'unsilence' : 'hold'
  }

  isSilent(flow: FlowKey): boolean {
    const rule = this.rules.get(flow.id)
    return rule?.action === 'hold' && rule.silent === true
  }

  of(flow: FlowKey): Rule['action'] | 'none' {
    return this.rules.get(flow.id)?.action ?? 'none'
  }
}

/** A connection at the gateway. */
export class FakeOriginConnection implements OriginConnection {
  state: 'live' | 'frozen' | 'released' | 'reset' = 'live'

  constructor(
    readonly flow: FlowKey,
    readonly content: TcpSnapshot,
    readonly journal: Journal,
  ) {}

  freeze(): void {
    this.#step('freeze', ['live'], 'frozen')
  }

  snapshot(): TcpSnapshot {
    if (this.state !== 'frozen') this.journal.violations.push(`snapshot of a connection that is ${this.state}`)
    return this.journal.sync('origin.snapshot', () => this.content)
  }

  verify(): void {
    if (this.state !== 'frozen') this.journal.violations.push(`check of a connection that is ${this.state}`)
    this.journal.sync('origin.verify', () => undefined)
  }

  thaw(): void {
    this.#step('thaw', ['frozen'], 'live')
  }

  release(): void {
    this.#step('release', ['frozen'], 'released')
  }

  reset(): void {
    this.#step('reset', ['frozen', 'live'], 'reset')
  }

  #step(name: string, from: string[], to: FakeOriginConnection['state']): void {
    if (!from.includes(this.state)) this.journal.violations.push(`${name} of a connection that is ${this.state}`)
    this.journal.sync(`origin.${name}`, () => {
      this.state = to
    })
  }
}

/** A connection at a target. */
export class FakeRestoredConnection implements RestoredConnection {
  state: 'restored' | 'owned' | 'discarded' | 'reset' = 'restored'
  readonly flow: FlowKey
  readonly unsent: Uint8Array

  constructor(
    readonly snapshot: TcpSnapshot,
    readonly host: string,
    readonly journal: Journal,
  ) {
    this.flow = snapshot.flow
    this.unsent = snapshot.send.unsent
  }

  acknowledge(): void {
    this.#step('acknowledge', 'restored')
  }

  discard(): void {
    this.#step('discard', 'discarded')
  }

  reset(): void {
    this.#step('reset', 'reset')
  }

  #step(name: string, to: FakeRestoredConnection['state']): void {
    if (this.state !== 'restored')
      this.journal.violations.push(`${name} of a restored connection that is ${this.state}`)
    // Closing closes, also when it reports an error.
    this.state = to
    this.journal.sync(`${this.host}.${name}`, () => {})
  }
}
