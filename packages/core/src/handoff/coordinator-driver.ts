import type { FlowKey } from '../flow.ts'
import type { Channel, Clock, ErrorListener, OriginConnection, RuleTable, YieldedConnection } from '../ports.ts'
import type { Message, OfferMessage, ToOriginMessage } from '../protocol/messages.ts'
import { wipeOffer } from '../wipe.ts'
import { type CoordinatorContext, CoordinatorRun } from './coordinator-run.ts'
import {
  type CoordinatorEvent,
  type CoordinatorLimits,
  DEFAULT_COORDINATOR_LIMITS,
  type HandoffFailureReason,
} from './coordinator-state.ts'
import { mendOrphan } from './mend-orphan.ts'
import type { HandOffOptions, HandoffDestination, HandoffOutcome } from './outcome.ts'
import { TimerWheel } from './timer-wheel.ts'

/** What a {@link HandoffCoordinator} works with. */
export interface HandoffCoordinatorOptions {
  readonly redirector: RuleTable
  readonly clock: Clock
  /** The incarnation of this process, u32: another one at every start, at random or by counting. */
  readonly epoch: number
  /** Told of what fails when nobody waits for it. */
  readonly onError: ErrorListener
  readonly limits?: Partial<CoordinatorLimits>
  /** How many handoffs may be in flight at a time, to all targets. Default 4096. */
  readonly maximumHandoffs?: number
}

/**
 * Decisions kept for a channel that is down. When more come the oldest is dropped: a target forgets a handoff by itself, an origin
 * asks again with its next report.
 */
const MAXIMUM_OWED = 4096

/** Flows that wait for an answer of the redirector, which may never come. When there are more the oldest waits no longer. */
const MAXIMUM_UNANSWERED = 4096

/**
 * The gateway's side of handoffs, many at once: it coordinates all of them, whether the connection is here or at a server. The caller
 * feeds it every message and every change of the channels.
 */
export class HandoffCoordinator {
  readonly #epoch: number
  readonly #limits: CoordinatorLimits
  readonly #maximumHandoffs: number
  readonly #context: CoordinatorContext
  readonly #runs = new Map<number, CoordinatorRun>()
  readonly #flows = new Map<string, CoordinatorRun>()
  readonly #inFlight = new Map<Channel, number>()
  readonly #owed = new Map<Channel, ToOriginMessage[]>()
  /** Handoffs that are over, but for operations that the redirector has not answered, by their flows. */
  readonly #unanswered = new Map<string, CoordinatorRun>()
  #total = 0
  #next = 1
  #closing = false
  #closed: (() => void)[] = []
  readonly #settled: (() => void)[] = []

  constructor({ redirector, clock, epoch, onError, limits, maximumHandoffs = 4096 }: HandoffCoordinatorOptions) {
    this.#epoch = epoch
    this.#limits = { ...DEFAULT_COORDINATOR_LIMITS, ...limits }
    this.#maximumHandoffs = maximumHandoffs
    this.#context = {
      redirector,
      clock,
      wheel: new TimerWheel(clock),
      onError,
      owe: (channel, message) => this.#owe(channel, message),
      completed: (run) => this.#completed(run),
      finished: (run) => this.#finished(run),
      answeredLate: (run, put) => this.#answeredLate(run, put),
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

  /** The incarnation of this process, as in every reference of its handoffs. */
  get epoch(): number {
    return this.#epoch
  }

  /** Whether a handoff of the flow has begun and its outcome is not known yet. */
  isInFlight(flow: FlowKey): boolean {
    return this.#flows.get(flow.id)?.isInFlight ?? false
  }

  /** Whether the flow's packets may be given to this host's own stack: a handoff to the gateway itself is committed. */
  isCommitted(flow: FlowKey): boolean {
    return this.#flows.get(flow.id)?.committed ?? false
  }

  /**
   * Hands the connection to the target: one that is here, with `application` for the target's application (default: nothing), or one
   * that a server has yielded, which sends its own. Never rejects. `rolled-back` with the reason `busy` or `channel-lost` and `handoff` 0
   * means that nothing was touched. After `handed-off` the connection belongs to this object until its grace period is over.
   * `application` is overwritten when it is not needed any more, unless nothing was touched.
   */
  handOff(
    connection: OriginConnection | YieldedConnection,
    destination: HandoffDestination,
    application: Uint8Array = new Uint8Array(),
    options: HandOffOptions = {},
  ): Promise<HandoffOutcome> {
    const remote = !('freeze' in connection)
    // The frozen socket of an earlier handoff has nothing to wait for when the connection moves on.
    if (remote) this.ended(connection.flow)
    const refusal = this.#refusal(connection.flow, destination, options)
    if (refusal) {
      const [reason, text] = refusal
      return Promise.resolve({ result: 'rolled-back', handoff: 0, failure: { reason, text }, times: { total: 0 } })
    }
    const parameters = { handoff: this.#next++, epoch: this.#epoch, limits: this.#limits, remote }
    const run = new CoordinatorRun(this.#context, parameters, connection, destination, application, options)
    this.#runs.set(run.reference.handoff, run)
    this.#flows.set(connection.flow.id, run)
    this.#count(run.channel, 1)
    run.begin()
    return run.outcome
  }

  /** A message came by the channel. True when it was one for a coordinator, whether it meant something or not. */
  receive(channel: Channel, message: Message): boolean {
    if (message.type !== 'accept' && message.type !== 'refuse' && message.type !== 'committed') {
      if (message.type === 'offer') this.#offered(channel, message)
      return message.type === 'offer'
    }
    const run = this.#runs.get(message.handoff)
    if (run === undefined) return true
    // One host must not answer for another.
    if (run.channel === channel) run.dispatch({ type: 'message', message })
    const refused = message.type === 'refuse' && run.remote?.channel === channel && message.epoch === this.#epoch
    if (refused) run.dispatch({ type: 'take-refused', text: message.text })
    return true
  }

  /** The channel's connection is gone. */
  channelLost(channel: Channel): void {
    this.#broadcast(channel, { type: 'channel-lost' })
    for (const run of [...this.#runs.values()])
      if (run.remote?.channel === channel) run.dispatch({ type: 'origin-lost' })
  }

  /** What the host had is gone: its process is another one than before, or it was given up. */
  targetLost(channel: Channel, text: string): void {
    this.#owed.delete(channel)
    this.#broadcast(channel, { type: 'target-lost', text })
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

  /**
   * Waits until nothing is in flight, and gives up the frozen sockets of connections that are elsewhere. The caller begins nothing
   * meanwhile; every step has its time limit, so this ends.
   */
  async settle(): Promise<void> {
    if (this.#total > 0) await new Promise<void>((resolve) => this.#settled.push(resolve))
    for (const run of [...this.#runs.values()]) run.dispatch({ type: 'ended' })
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
    if (this.#unanswered.has(flow.id)) return ['busy', `the redirector has not answered for ${flow}`]
    if (this.#total >= this.#maximumHandoffs) return ['busy', `${this.#total} handoffs are in flight`]
    const count = this.#inFlight.get(channel) ?? 0
    if (count >= maximumHandoffs) return ['busy', `${count} handoffs to ${channel.host} are in flight`]
    return undefined
  }

  #offered(channel: Channel, message: OfferMessage): void {
    const run = this.#runs.get(message.handoff)
    if (run?.remote?.channel === channel && message.epoch === this.#epoch) run.offered(message)
    else wipeOffer(message)
  }

  #broadcast(channel: Channel, event: CoordinatorEvent): void {
    for (const run of [...this.#runs.values()]) if (run.channel === channel) run.dispatch(event)
  }

  #owe(channel: Channel, message: ToOriginMessage): void {
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

  #completed(run: CoordinatorRun): void {
    this.#count(run.channel, -1)
    if (this.#total === 0) for (const resolve of this.#settled.splice(0)) resolve()
    if (this.#closing) run.dispatch({ type: 'ended' })
  }

  #finished(run: CoordinatorRun): void {
    this.#runs.delete(run.reference.handoff)
    if (this.#flows.get(run.flow.id) === run) this.#flows.delete(run.flow.id)
    if (!run.isAnswered) this.#awaitAnswer(run)
    if (this.#runs.size > 0) return
    for (const resolve of this.#closed.splice(0)) resolve()
  }

  /** The next handoff of the flow waits for the answer: what comes late would undo what that one has put. */
  #awaitAnswer(run: CoordinatorRun): void {
    this.#unanswered.set(run.flow.id, run)
    if (this.#unanswered.size <= MAXIMUM_UNANSWERED) return
    for (const oldest of this.#unanswered.keys()) {
      this.#unanswered.delete(oldest)
      return
    }
  }

  #answeredLate(run: CoordinatorRun, put: boolean): void {
    const { flow, remote, lost } = run
    const { redirector, wheel, onError } = this.#context
    const isUnclaimed = (): boolean => !this.#flows.has(flow.id)
    const mend = (): Promise<unknown> => (remote && !lost ? redirector.put(remote.rule) : redirector.remove(flow))
    const done = (): void => {
      if (run.isAnswered && this.#unanswered.get(flow.id) === run) this.#unanswered.delete(flow.id)
    }
    if (put) mendOrphan({ flow, isUnclaimed, mend, done, wheel, onError })
    else done()
  }
}
