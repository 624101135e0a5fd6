import type { FlowKey } from '../flow.ts'
import type { Channel, Clock, ErrorListener, OriginConnection, RuleTable } from '../ports.ts'
import type { AbortMessage, Message } from '../protocol/messages.ts'
import { type OriginContext, OriginRun } from './origin-run.ts'
import { DEFAULT_ORIGIN_LIMITS, type HandoffFailureReason, type OriginLimits } from './origin-state.ts'
import type { HandOffOptions, HandoffDestination, HandoffOutcome } from './outcome.ts'
import { removeOrphan } from './remove-orphan.ts'
import { TimerWheel } from './timer-wheel.ts'

export interface HandoffOriginOptions {
  readonly redirector: RuleTable
  readonly clock: Clock
  /** The incarnation of this process, u32: another one at every start, at random or by counting. */
  readonly epoch: number
  /** Told of what fails when nobody waits for it. */
  readonly onError: ErrorListener
  readonly limits?: Partial<OriginLimits>
  /** How many handoffs may be in flight at a time, to all targets. Default 4096. */
  readonly maximumHandoffs?: number
}

/** Aborts kept for a channel that is down; the target forgets a handoff by itself if its abort is dropped. */
const MAXIMUM_OWED = 4096

/**
 * The gateway's side of handoffs, as origin and coordinator; many at once. The caller feeds it every message and every change of
 * the channels.
 */
export class HandoffOrigin {
  readonly #epoch: number
  readonly #limits: OriginLimits
  readonly #maximumHandoffs: number
  readonly #context: OriginContext
  readonly #runs = new Map<number, OriginRun>()
  readonly #flows = new Map<string, OriginRun>()
  readonly #inFlight = new Map<Channel, number>()
  readonly #owed = new Map<Channel, AbortMessage[]>()
  #total = 0
  #next = 1
  #closing = false
  #closed: (() => void)[] = []

  constructor({ redirector, clock, epoch, onError, limits, maximumHandoffs = 4096 }: HandoffOriginOptions) {
    this.#epoch = epoch
    this.#limits = { ...DEFAULT_ORIGIN_LIMITS, ...limits }
    this.#maximumHandoffs = maximumHandoffs
    this.#context = {
      redirector,
      clock,
      wheel: new TimerWheel(clock),
      onError,
      owe: (channel, message) => this.#owe(channel, message),
      completed: (run) => this.#completed(run),
      finished: (run) => this.#finished(run),
      orphaned: (run) => this.#orphaned(run.connection.flow),
    }
  }

  /** The number of handoffs whose outcome is not known yet. */
  get inFlight(): number {
    return this.#total
  }

  /** The number of handoffs of which anything is left, a frozen socket in its grace period included. */
  get size(): number {
    return this.#runs.size
  }

  /**
   * Hands the connection to the target. Never rejects. `rolled-back` with the reason `busy` or `channel-lost` and `handoff` 0 means
   * that nothing was touched. After `handed-off` the connection belongs to this object until its grace period is over.
   */
  handOff(
    connection: OriginConnection,
    destination: HandoffDestination,
    application: Uint8Array,
    options: HandOffOptions = {},
  ): Promise<HandoffOutcome> {
    const refusal = this.#refusal(connection.flow, destination, options)
    if (refusal) {
      const [reason, text] = refusal
      return Promise.resolve({ result: 'rolled-back', handoff: 0, failure: { reason, text }, times: { total: 0 } })
    }
    const parameters = { handoff: this.#next++, epoch: this.#epoch, limits: this.#limits }
    const run = new OriginRun(this.#context, parameters, connection, destination, application, options)
    this.#runs.set(run.handoff, run)
    this.#flows.set(connection.flow.id, run)
    this.#count(run.channel, 1)
    run.begin()
    return run.outcome
  }

  /** A message came by the channel. True when it was one for an origin, whether it meant something or not. */
  receive(channel: Channel, message: Message): boolean {
    if (message.type !== 'accept' && message.type !== 'refuse' && message.type !== 'committed') return false
    const run = this.#runs.get(message.handoff)
    // One host must not answer for another.
    if (run && run.channel === channel) run.dispatch({ type: 'message', message })
    return true
  }

  /** The channel's connection is gone. */
  channelLost(channel: Channel): void {
    this.#broadcast(channel, { type: 'channel-lost' })
  }

  /** The channel has a connection again, and hello was said. */
  channelUp(channel: Channel): void {
    const owed = this.#owed.get(channel) ?? []
    this.#owed.delete(channel)
    for (const [index, message] of owed.entries()) {
      try {
        channel.send(message)
      } catch {
        // Not lost: the rest waits for the next time.
        this.#owed.set(channel, owed.slice(index))
        break
      }
    }
    this.#broadcast(channel, { type: 'channel-up' })
  }

  /** The client has reset the connection: a handoff before its commit is undone. */
  clientGone(flow: FlowKey): void {
    this.#flows.get(flow.id)?.dispatch({ type: 'client-gone', text: 'the client has gone' })
  }

  /** The target says that the connection has ended: its frozen socket here need not wait out the grace period. */
  ended(flow: FlowKey): void {
    this.#flows.get(flow.id)?.dispatch({ type: 'ended' })
  }

  /** Begins nothing any more, undoes what can be undone, releases the frozen sockets; resolves when nothing is left. */
  close(): Promise<void> {
    this.#closing = true
    for (const run of [...this.#runs.values()]) {
      run.dispatch({ type: 'aborted', text: 'the gateway is closing' })
      run.dispatch({ type: 'ended' })
    }
    if (this.#runs.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#closed.push(resolve))
  }

  #refusal(
    flow: FlowKey,
    { channel, maximumHandoffs = this.#maximumHandoffs }: HandoffDestination,
    { signal }: HandOffOptions,
  ): [HandoffFailureReason, string] | undefined {
    if (this.#closing) return ['aborted', 'the gateway is closing']
    if (signal?.aborted) return ['aborted', 'aborted before it began']
    if (!channel.connected) return ['channel-lost', `no control channel to ${channel.host}`]
    if (this.#flows.has(flow.id)) return ['busy', `a handoff of ${flow} is in flight`]
    if (this.#total >= this.#maximumHandoffs) return ['busy', `${this.#total} handoffs are in flight`]
    const count = this.#inFlight.get(channel) ?? 0
    if (count >= maximumHandoffs) return ['busy', `${count} handoffs to ${channel.host} are in flight`]
    return undefined
  }

  #broadcast(channel: Channel, event: { readonly type: 'channel-lost' | 'channel-up' }): void {
    for (const run of [...this.#runs.values()]) if (run.channel === channel) run.dispatch(event)
  }

  #owe(channel: Channel, message: AbortMessage): void {
    const owed = this.#owed.get(channel) ?? []
    owed.push(message)
    if (owed.length > MAXIMUM_OWED) owed.shift()
    this.#owed.set(channel, owed)
  }

  #count(channel: Channel, change: 1 | -1): void {
    this.#total += change
    const count = (this.#inFlight.get(channel) ?? 0) + change
    if (count === 0) this.#inFlight.delete(channel)
    else this.#inFlight.set(channel, count)
  }

  #completed(run: OriginRun): void {
    this.#count(run.channel, -1)
    if (this.#closing) run.dispatch({ type: 'ended' })
  }

  #finished(run: OriginRun): void {
    this.#runs.delete(run.handoff)
    if (this.#flows.get(run.connection.flow.id) === run) this.#flows.delete(run.connection.flow.id)
    if (this.#runs.size > 0) return
    for (const resolve of this.#closed.splice(0)) resolve()
  }

  #orphaned(flow: FlowKey): void {
    // A newer handoff of the same flow has put its own rule since, and will remove it.
    if (this.#flows.has(flow.id)) return
    removeOrphan(this.#context.redirector, flow, this.#context.onError)
  }
}
