import type { FlowKey } from '../flow.ts'
import type { Channel, Clock, ErrorListener, RuleTable } from '../ports.ts'
import type { HandoffReference, Message, ReportedConnection, TakeMessage } from '../protocol/messages.ts'
import { handoffKey, referenceOf } from '../protocol/reference.ts'
import { mendOrphan } from './mend-orphan.ts'
import { type Gift, type OriginContext, type OriginOutcome, OriginRun } from './origin-run.ts'
import { DEFAULT_ORIGIN_LIMITS, type OriginLimits } from './origin-state.ts'
import { TimerWheel } from './timer-wheel.ts'

/** What a {@link HandoffOrigin} works with. */
export interface HandoffOriginOptions {
  readonly redirector: RuleTable
  readonly clock: Clock
  /** Told of what fails when nobody waits for it. */
  readonly onError: ErrorListener
  readonly limits?: Partial<OriginLimits>
}

/**
 * How long the gateway may still decide on what it was offered when this host is closing, in milliseconds: as long as its own steps from
 * the offer to the outcome may take.
 */
const CLOSE_TIMEOUT = 10_000

/** A server's side of handoffs in which it gives a connection, many at once. The caller feeds it every message of the channels. */
export class HandoffOrigin {
  readonly #limits: OriginLimits
  readonly #clock: Clock
  readonly #context: OriginContext
  readonly #runs = new Map<string, OriginRun>()
  readonly #flows = new Map<string, OriginRun>()
  #closing = false
  #closed: (() => void)[] = []

  constructor({ redirector, clock, onError, limits }: HandoffOriginOptions) {
    this.#limits = { ...DEFAULT_ORIGIN_LIMITS, ...limits }
    this.#clock = clock
    const wheel = new TimerWheel(clock)
    this.#context = {
      redirector,
      wheel,
      onError,
      finished: (run) => this.#finished(run),
      orphaned: ({ flow }) => {
        const isUnclaimed = (): boolean => !this.#flows.has(flow.id)
        mendOrphan({ flow, isUnclaimed, mend: () => redirector.remove(flow), wheel, onError })
      },
    }
  }

  /** The number of handoffs of which anything is left here, a rule for late packets included. */
  get size(): number {
    return this.#runs.size
  }

  /**
   * Gives the connection, as the gateway's `take` asks. Never rejects. After `given` and `lost` the socket is, or is about to be, closed;
   * after `kept` the connection goes on here.
   */
  give(gift: Gift, take: TakeMessage): Promise<OriginOutcome> {
    const refusal = this.#refusal(gift.connection.flow, take)
    const reference = referenceOf(take)
    if (refusal) {
      gift.application.fill(0)
      this.#refuse(gift.channel, reference, refusal)
      return Promise.resolve({ result: 'kept', failure: refusal })
    }
    const run = new OriginRun(this.#context, { ...reference, limits: this.#limits }, gift, take.connection)
    this.#runs.set(handoffKey(gift.channel.host, take), run)
    this.#flows.set(run.flow.id, run)
    run.begin()
    return run.outcome.then((outcome) => {
      if (this.#closing) run.dispatch({ type: 'timeout', timer: 'grace' })
      return outcome
    })
  }

  /** A message came by the channel. True when it was a decision on a handoff that is in progress here. */
  receive(channel: Channel, message: Message): boolean {
    if (message.type !== 'abort' && message.type !== 'release' && message.type !== 'reset') return false
    const run = this.#runs.get(handoffKey(channel.host, message))
    run?.dispatch({ type: 'message', message })
    return run !== undefined
  }

  /**
   * The connection comes back to this host: what is left of giving it makes room. False when it has not been given; a promise when its
   * rule for late packets is about to be put, and this is to be called again when it resolves.
   */
  supersede(flow: FlowKey): boolean | Promise<unknown> {
    const run = this.#flows.get(flow.id)
    // Its outcome is known when the rule is there, or cannot be put.
    if (run?.phase === 'forwarding') return run.outcome
    run?.dispatch({ type: 'superseded' })
    return !this.#flows.has(flow.id)
  }

  /** The connections that were offered to a gateway and wait for its decision. */
  *offered(host: string): Iterable<ReportedConnection> {
    for (const { phase, channel, flow, reference, arrival } of this.#runs.values()) {
      if (phase !== 'offered' || channel.host !== host) continue
      yield { flow, ...reference, state: 'offered', connection: arrival }
    }
  }

  /** Gives nothing any more, undoes what was not offered yet, waits a while for decisions; resolves when nothing is left. */
  close(): Promise<void> {
    this.#closing = true
    const rest = (): OriginRun[] => [...this.#runs.values()]
    for (const run of rest()) {
      run.dispatch({ type: 'aborted', text: 'this host is closing' })
      run.dispatch({ type: 'timeout', timer: 'grace' })
    }
    if (this.#runs.size === 0) return Promise.resolve()
    const cancel = this.#clock.after(CLOSE_TIMEOUT, () => {
      for (const run of rest()) run.dispatch({ type: 'timeout', timer: 'decision' })
    })
    return new Promise((resolve) => {
      this.#closed.push(() => {
        cancel()
        resolve()
      })
    })
  }

  /** So that the gateway need not wait out its time limit, with the flow held. */
  #refuse(channel: Channel, reference: HandoffReference, text: string): void {
    if (!channel.connected) return
    try {
      channel.send({ type: 'refuse', ...reference, reason: 'failed', text })
    } catch (error) {
      this.#context.onError(error, { step: 'refuse' })
    }
  }

  #refusal(flow: FlowKey, take: TakeMessage): string | undefined {
    if (this.#closing) return 'this host is closing'
    if (!flow.equals(take.flow)) return `the connection asked for is that of ${take.flow}`
    if (this.#flows.has(flow.id)) return `a handoff of ${flow} is in progress`
    return undefined
  }

  #finished(run: OriginRun): void {
    this.#runs.delete(handoffKey(run.channel.host, run.reference))
    if (this.#flows.get(run.flow.id) === run) this.#flows.delete(run.flow.id)
    if (this.#runs.size > 0) return
    for (const resolve of this.#closed.splice(0)) resolve()
  }
}
