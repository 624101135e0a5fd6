import {
  checkRule,
  type FlowCounters,
  type FlowKey,
  type ListedRule,
  type OperationOptions,
  type PutOutcome,
  type Redirector,
  RedirectorError,
  type RedirectorManifest,
  type Rule,
  type SteerRule,
} from '@xoffload/core'
import type { Card } from './card.ts'

/** Holds and steers flows in the rule table of a {@link Card}. */
export class CardRedirector implements Redirector {
  readonly manifest: RedirectorManifest
  readonly #card: Card
  #opened = false

  constructor(card: Card) {
    this.#card = card
    this.manifest = Object.freeze({
      name: 'my-card',
      offload: 'nic',
      families: [4, 6],
      steerModes: ['l2'],
      holds: true,
      capacity: card.capacity,
      observable: true,
      expected: { insertMicroseconds: 10, removeMicroseconds: 10 },
    } as const)
  }

  async open({ signal }: OperationOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    if (!this.#card.claim()) throw new RedirectorError('busy', 'the card has an owner: stop the process that has it')
    this.#opened = true
  }

  async close(): Promise<void> {
    if (!this.#opened) return
    this.#opened = false
    for (const { rule } of this.#card.dump()) this.#card.erase(rule.flow.id)
    this.#card.abandon()
  }

  async release(): Promise<void> {
    if (!this.#opened) return
    this.#opened = false
    this.#card.abandon()
  }

  async put(rule: Rule, { signal }: OperationOptions = {}): Promise<PutOutcome> {
    signal?.throwIfAborted()
    checkRule(rule)
    if (rule.action === 'steer' && rule.target.mode !== 'l2') {
      throw new RedirectorError('unsupported', `the card steers in mode l2, not in mode ${rule.target.mode}`)
    }
    // A hint for those who choose what they give to hardware. It is not part of the rule.
    const { expectedBytes: _, ...kept } = rule as SteerRule
    if (this.#use().write(kept)) return 'active'
    throw new RedirectorError('full', `the card has no room for more than ${this.#card.capacity} flows`)
  }

  async remove(flow: FlowKey, { signal }: OperationOptions = {}): Promise<boolean> {
    signal?.throwIfAborted()
    return this.#use().erase(flow.id)
  }

  async counters(flow: FlowKey, { signal }: OperationOptions = {}): Promise<FlowCounters | undefined> {
    signal?.throwIfAborted()
    return this.#use().read(flow.id)
  }

  async *list({ signal }: OperationOptions = {}): AsyncGenerator<ListedRule, void, undefined> {
    for (const listed of this.#use().dump()) {
      signal?.throwIfAborted()
      this.#use()
      yield listed
    }
  }

  #use(): Card {
    if (this.#opened) return this.#card
    throw new RedirectorError('gone', 'the redirector is not open')
  }
}
