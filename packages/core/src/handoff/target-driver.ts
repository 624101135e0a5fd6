import type { FlowKey } from '../flow.ts'
import type { Application, Channel, Clock, ErrorListener, RestoredConnection, Restorer, RuleTable } from '../ports.ts'
import type { Message, OfferMessage, ReportedConnection, ToTargetMessage } from '../protocol/messages.ts'
import { handoffKey } from '../protocol/reference.ts'
import { wipeOffer } from '../wipe.ts'
import { FinishedHandoffs } from './finished-handoffs.ts'
import { mendOrphan } from './mend-orphan.ts'
import { refuseUnknown, targetStep } from './target.ts'
import { sendAnswer, type TargetContext, TargetRun } from './target-run.ts'
import {
  DEFAULT_TARGET_LIMITS,
  type Refusal,
  type TargetEffect,
  type TargetLimits,
  type TargetPhase,
  type TargetState,
} from './target-state.ts'
import { TimerWheel } from './timer-wheel.ts'

/** What a {@link HandoffTarget} works with. */
export interface HandoffTargetOptions<C extends RestoredConnection> {
  readonly redirector: RuleTable
  readonly restorer: Restorer<C>
  readonly application: Application<C>
  readonly clock: Clock
  /** Whether this host may take connections to `flow.service` from the host of that name. */
  readonly authorise: (flow: FlowKey, host: string) => boolean
  /**
   * Why the application would not take a connection with what the origin's application sent along: then the offer is refused, and the
   * connection stays where it is. After the commit it would be lost. Default: it takes everything. The bytes are not to be kept.
   */
  readonly refuse?: (application: Uint8Array) => Refusal | undefined
  /** How many handoffs may be in progress; one more is refused as `busy`. */
  readonly maximumHandoffs: number
  /**
   * How many bytes the offers in progress may have together, default 256 MiB; one more is refused as `busy`. One alone may have more.
   */
  readonly maximumBytes?: number
  /**
   * Makes room for a flow that this host has given away; false when it cannot now. A promise says when to ask again; it must not reject,
   * and needs a time limit. Default: there is never anything in the way.
   */
  readonly supersede?: (flow: FlowKey) => boolean | Promise<unknown>
  /** Told of what fails when nobody waits for it. */
  readonly onError: ErrorListener
  readonly limits?: Partial<TargetLimits>
}

/** Handoffs that are over and still answered for: more than come in a coordinator's time limit for a commit, at thousands a second. */
const FINISHED_COUNT = 65_536
const FINISHED_MILLISECONDS = 30_000

const MAXIMUM_BYTES = 256 * 1024 * 1024

/** What a phase is to a gateway that asks. */
const REPORTED: Partial<Record<TargetPhase, ReportedConnection['state']>> = {
  prepared: 'prepared',
  unlocking: 'owned',
  adopting: 'owned',
}

/** A server's side of handoffs, many at once, from any number of coordinators. The caller feeds it every message of the channels. */
export class HandoffTarget<C extends RestoredConnection = RestoredConnection> {
  readonly #context: TargetContext<C>
  readonly #authorise: HandoffTargetOptions<C>['authorise']
  readonly #refuse: (application: Uint8Array) => Refusal | undefined
  readonly #maximumHandoffs: number
  readonly #maximumBytes: number
  /** Of the offers in progress. */
  #bytes = 0
  readonly #runs = new Map<string, TargetRun<C>>()
  readonly #flows = new Map<string, TargetRun<C>>()
  readonly #finished: FinishedHandoffs
  #closing = false
  #closed: (() => void)[] = []

  constructor(options: HandoffTargetOptions<C>) {
    const { redirector, restorer, application, clock, onError, limits } = options
    this.#authorise = options.authorise
    this.#refuse = options.refuse ?? (() => undefined)
    this.#maximumHandoffs = options.maximumHandoffs
    this.#maximumBytes = options.maximumBytes ?? MAXIMUM_BYTES
    this.#finished = new FinishedHandoffs(clock, FINISHED_COUNT, FINISHED_MILLISECONDS)
    this.#context = {
      redirector,
      restorer,
      application,
      clock,
      wheel: new TimerWheel(clock),
      limits: { ...DEFAULT_TARGET_LIMITS, ...limits },
      onError,
      claim: (run, flow) => this.#claim(run, flow),
      supersede: options.supersede ?? (() => true),
      finished: (run, state) => {
        this.#finished.add(run.key, state)
        this.#forget(run)
      },
      orphaned: (flow) => this.#orphaned(flow),
    }
  }

  /** The number of handoffs in progress, those that wait for their commit included. */
  get inFlight(): number {
    return this.#runs.size
  }

  /**
   * The connections of a gateway that are restored here: those that wait for their commit, and as `owned` those that have it and that the
   * application is taking.
   */
  *prepared(host: string): Iterable<ReportedConnection> {
    for (const { state, channel, flow, reference } of this.#runs.values()) {
      const reported = REPORTED[state.phase]
      if (reported !== undefined && channel.host === host && flow !== undefined)
        yield { flow, ...reference, state: reported }
    }
  }

  /** A message came by the channel. True when it was one for a target, whether it meant something or not. */
  receive(channel: Channel, message: Message): boolean {
    if (message.type !== 'offer' && message.type !== 'commit' && message.type !== 'abort') return false
    const key = handoffKey(channel.host, message)
    const run = this.#runs.get(key)
    const finished = run ? undefined : this.#finished.get(key)
    if (run) {
      run.channel = channel
      run.dispatch({ type: 'message', message })
    } else if (finished) {
      this.#receiveLate(channel, key, finished, message)
    } else if (message.type === 'offer') {
      this.#begin(channel, key, message)
      return true
    } else if (message.type === 'commit') {
      this.#answer(channel, refuseUnknown(message), message)
    }
    // It has come before.
    if (message.type === 'offer') wipeOffer(message)
    return true
  }

  /** Takes nothing any more and withdraws what is not committed; resolves when nothing is in progress. */
  close(): Promise<void> {
    this.#closing = true
    for (const run of [...this.#runs.values()]) run.dispatch({ type: 'withdrawn' })
    if (this.#runs.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#closed.push(resolve))
  }

  /** A message of a handoff that is over. */
  #receiveLate(channel: Channel, key: string, finished: TargetState, message: ToTargetMessage): void {
    const { state, effects } = targetStep(finished, { type: 'message', message })
    if (state !== finished) this.#finished.add(key, state)
    for (const effect of effects) this.#answer(channel, effect, message)
  }

  #begin(channel: Channel, key: string, offer: OfferMessage): void {
    const run = new TargetRun(this.#context, key, channel, offer)
    this.#runs.set(key, run)
    this.#bytes += run.size
    run.begin()
  }

  #claim(run: TargetRun<C>, flow: FlowKey): Refusal | undefined {
    const { host } = run.channel
    if (this.#closing) return { reason: 'busy', text: 'the server is closing' }
    // The run itself is counted already.
    if (this.#runs.size > this.#maximumHandoffs) {
      return { reason: 'busy', text: `${this.#maximumHandoffs} handoffs are in progress` }
    }
    if (this.#bytes > this.#maximumBytes && this.#runs.size > 1) {
      return { reason: 'busy', text: `the handoffs in progress have ${this.#bytes - run.size} bytes` }
    }
    try {
      if (!this.#authorise(flow, host)) {
        return {
          reason: 'not-authorised',
          text: `${flow.service.address}:${flow.service.port} is not served here for ${host}`,
        }
      }
      const refusal = this.#refuse(run.application)
      if (refusal) return refusal
    } catch (error) {
      this.#context.onError(error, { flow, step: 'authorise' })
      return { reason: 'failed', text: 'the authorisation of the flow failed' }
    }
    const other = this.#flows.get(flow.id)
    if (other) {
      // A coordinator that offers a flow again has given the earlier handoff up; its abort was lost with a channel.
      if (other.channel.host === host) other.dispatch({ type: 'withdrawn' })
      return { reason: 'busy', text: 'a handoff of this flow is in progress' }
    }
    this.#flows.set(flow.id, run)
    return undefined
  }

  #forget(run: TargetRun<C>): void {
    if (this.#runs.delete(run.key)) this.#bytes -= run.size
    if (run.flow && this.#flows.get(run.flow.id) === run) this.#flows.delete(run.flow.id)
    if (this.#runs.size > 0) return
    for (const resolve of this.#closed.splice(0)) resolve()
  }

  #orphaned(flow: FlowKey): void {
    const { redirector, wheel, onError } = this.#context
    const isUnclaimed = (): boolean => !this.#flows.has(flow.id)
    mendOrphan({ flow, isUnclaimed, mend: () => redirector.remove(flow), wheel, onError })
  }

  #answer(channel: Channel, effect: TargetEffect, { handoff, epoch }: ToTargetMessage): void {
    const onError = (error: unknown): void => this.#context.onError(error, { step: effect.type })
    if (effect.type === 'send') sendAnswer(channel, effect.message, onError)
    if (effect.type !== 'revoke') return
    try {
      this.#context.application.revoke?.({ host: channel.host, handoff, epoch })
    } catch (error) {
      onError(error)
    }
  }
}
