import { RedirectorError } from '../../errors.ts'
import type { FlowKey } from '../../flow.ts'
import type { Clock } from '../../ports.ts'
import type {
  FlowCounters,
  ListedRule,
  OperationOptions,
  PutOutcome,
  Redirector,
  RedirectorManifest,
  Rule,
} from '../../redirector.ts'
import { CommandLine } from './command-line.ts'
import type { NicProfile } from './profiles.ts'
import { keptRule, refuseBadRule } from './rule-checks.ts'

/** A command that fails. */
export interface NicFault {
  readonly error: unknown
  /** The command is carried out nevertheless: its answer was lost. Default false. */
  readonly carriedOut?: boolean
}

/** What can be turned while the model runs. */
export interface NicKnobs {
  /** How long each command has the lock, in microseconds. */
  insertMicroseconds: () => number
  removeMicroseconds: () => number
  /** When an accepted rule becomes active: see {@link NicProfile.activation}. `never`: the card takes rules and does nothing. */
  activation: 'on-return' | 'never' | number
  /** Asked when a command's turn has come. */
  fault: (command: 'insert' | 'remove', flow: FlowKey) => NicFault | undefined
  /** The card counts packets. Otherwise all counters stay 0. */
  counting: boolean
}

export interface NicModelOptions {
  readonly clock: Clock
  readonly profile: NicProfile
  /** What carries the active rules out: in memory, or on a real device. Opened and closed with the model. */
  readonly table: Redirector
  /** The size of the card's table, default 65,536 flows. */
  readonly capacity?: number
  readonly knobs?: Partial<NicKnobs>
}

const DEFAULT_CAPACITY = 65_536

/**
 * A NIC that steers flows, without a NIC: takes as long for a rule as the profile says, one command at a time, has a table of limited size, and
 * does everything wrong that cards do wrong. It cannot hold.
 */
export class NicModel implements Redirector {
  readonly knobs: NicKnobs
  readonly #options: NicModelOptions
  readonly #clock: Clock
  readonly #table: Redirector
  readonly #line: CommandLine
  /** Rules that were taken and are not active, and how to stop them from becoming so. */
  readonly #pending = new Map<string, { readonly rule: Rule; readonly cancel: () => void }>()
  #rules = 0

  constructor(options: NicModelOptions) {
    const { clock, profile, table, knobs } = options
    this.#options = options
    this.#clock = clock
    this.#table = table
    this.#line = new CommandLine(clock)
    this.knobs = {
      insertMicroseconds: () => profile.insertMicroseconds,
      removeMicroseconds: () => profile.removeMicroseconds,
      activation: profile.activation,
      fault: () => undefined,
      counting: true,
      ...knobs,
    }
  }

  get manifest(): RedirectorManifest {
    const { profile, capacity = DEFAULT_CAPACITY } = this.#options
    const { families, steerModes, capacity: room, observable } = this.#table.manifest
    const { insertMicroseconds, removeMicroseconds } = profile
    return {
      name: `${profile.name}-model`,
      offload: 'nic',
      families,
      steerModes,
      holds: false,
      capacity: Math.min(capacity, room),
      observable,
      expected: { insertMicroseconds, removeMicroseconds },
    }
  }

  /** The most commands that have ever stood in line for the lock. */
  get longestLine(): number {
    return this.#line.longest
  }

  async open(options?: OperationOptions): Promise<void> {
    await this.#table.open(options)
    this.#rules = 0
    for await (const _ of this.#table.list()) this.#rules += 1
  }

  async close(): Promise<void> {
    this.#stop()
    await this.#table.close()
  }

  async release(): Promise<void> {
    // The card goes on with what it was told.
    const activation = this.knobs.activation
    const pending = activation === 'never' ? [] : [...this.#pending.values()]
    this.#stop()
    for (const { rule } of pending) await this.#table.put(rule)
    await this.#table.release()
  }

  async put(rule: Rule, { signal }: OperationOptions = {}): Promise<PutOutcome> {
    signal?.throwIfAborted()
    refuseBadRule(rule, this.manifest)
    if (rule.action === 'steer' && (rule.ended || rule.returning))
      throw new RedirectorError('unsupported', 'a NIC only rewrites and forwards')
    // The caller may use its object again.
    const copy = keptRule(rule)
    return this.#line.add(
      this.knobs.insertMicroseconds,
      () => this.#carryOut('insert', copy.flow, () => this.#insert(copy)),
      signal,
    )
  }

  async remove(flow: FlowKey, { signal }: OperationOptions = {}): Promise<boolean> {
    signal?.throwIfAborted()
    return this.#line.add(
      this.knobs.removeMicroseconds,
      () => this.#carryOut('remove', flow, () => this.#remove(flow)),
      signal,
    )
  }

  async counters(flow: FlowKey, options?: OperationOptions): Promise<FlowCounters | undefined> {
    const counters = await this.#table.counters(flow, options)
    if (counters === undefined) return this.#pending.has(flow.id) ? NOTHING : undefined
    return this.knobs.counting ? counters : NOTHING
  }

  async *list(options?: OperationOptions): AsyncGenerator<ListedRule, void, undefined> {
    for await (const { rule, counters } of this.#table.list(options)) {
      if (!this.#pending.has(rule.flow.id)) yield { rule, counters: this.knobs.counting ? counters : NOTHING }
    }
    for (const { rule } of [...this.#pending.values()]) {
      options?.signal?.throwIfAborted()
      yield { rule, counters: NOTHING }
    }
  }

  /** Nothing is answered until {@link resume}. */
  stall(): void {
    this.#line.stall()
  }

  resume(): void {
    this.#line.resume()
  }

  /** The card resets: its rules are gone, and nobody is told. */
  async loseRules(): Promise<void> {
    const flows: FlowKey[] = []
    for await (const { rule } of this.list()) flows.push(rule.flow)
    for (const flow of flows) await this.#remove(flow)
  }

  async #carryOut<T>(command: 'insert' | 'remove', flow: FlowKey, carryOut: () => Promise<T>): Promise<T> {
    const fault = this.knobs.fault(command, flow)
    if (fault === undefined) return carryOut()
    if (fault.carriedOut) await carryOut()
    throw fault.error
  }

  async #insert(rule: Rule): Promise<PutOutcome> {
    const { flow } = rule
    const known = this.#pending.has(flow.id) || (await this.#table.counters(flow)) !== undefined
    const { capacity } = this.manifest
    if (!known && this.#rules >= capacity) {
      throw new RedirectorError('full', `the table of the card has room for ${capacity} flows`)
    }
    this.#pending.get(flow.id)?.cancel()
    this.#pending.delete(flow.id)
    if (!known) this.#rules += 1
    const { activation } = this.knobs
    if (activation === 'on-return' || activation === 0) {
      await this.#table.put(rule)
      return activation === 0 ? 'accepted' : 'active'
    }
    const later =
      activation === 'never' ? () => {} : this.#clock.after(activation / 1000, () => void this.#activate(rule))
    this.#pending.set(flow.id, { rule, cancel: later })
    return 'accepted'
  }

  async #activate(rule: Rule): Promise<void> {
    if (this.#pending.get(rule.flow.id)?.rule !== rule) return
    this.#pending.delete(rule.flow.id)
    await this.#table.put(rule)
  }

  async #remove(flow: FlowKey): Promise<boolean> {
    const pending = this.#pending.get(flow.id)
    pending?.cancel()
    this.#pending.delete(flow.id)
    const removed = (await this.#table.remove(flow)) || pending !== undefined
    if (removed) this.#rules -= 1
    return removed
  }

  #stop(): void {
    this.#line.clear(new RedirectorError('gone', 'the NIC was closed'))
    for (const { cancel } of this.#pending.values()) cancel()
    this.#pending.clear()
  }
}

const NOTHING: FlowCounters = { packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n }
