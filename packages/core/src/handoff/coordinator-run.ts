import { decodeSnapshot, hasUnacknowledgedBytes } from '../codec/snapshot.ts'
import { CodecError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import type { Channel, Clock, ErrorListener, OriginConnection, RuleTable, YieldedConnection } from '../ports.ts'
import type { AbortMessage, CommitMessage, HandoffReference, OfferMessage } from '../protocol/messages.ts'
import { referenceOf } from '../protocol/reference.ts'
import type { Rule, SteerTarget } from '../redirector.ts'
import { wipeOffer } from '../wipe.ts'
import { coordinatorStart, coordinatorStep } from './coordinator.ts'
import type {
  CoordinatorEffect,
  CoordinatorEvent,
  CoordinatorParameters,
  CoordinatorState,
  CoordinatorStep,
  CoordinatorTimer,
  HandoffFailure,
} from './coordinator-state.ts'
import { isPut } from './coordinator-undo.ts'
import { errorText } from './error-text.ts'
import { OfferContent } from './offer-content.ts'
import type { HandOffOptions, HandoffDestination, HandoffOutcome } from './outcome.ts'
import { type Owed, RemoteOrigin, sendOrOwe } from './remote-origin.ts'
import { RunPorts } from './run-ports.ts'
import { RunTimers } from './run-timers.ts'
import { StateMachine } from './state-machine.ts'
import { StepClock } from './step-clock.ts'
import type { TimerWheel } from './timer-wheel.ts'

/** What all handoffs of one coordinator share. */
export interface CoordinatorContext {
  readonly redirector: RuleTable
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly onError: ErrorListener
  /** A decision that the channel does not take now. */
  readonly owe: Owed
  /** The outcome is known. */
  completed(run: CoordinatorRun): void
  /** Nothing is left of the handoff. */
  finished(run: CoordinatorRun): void
  /** The redirector has answered when nothing was left of the handoff: it had put a rule, or not. */
  answeredLate(run: CoordinatorRun, put: boolean): void
}

/** Carries out the effects of one handoff at the gateway. */
export class CoordinatorRun {
  readonly flow: FlowKey
  /** The channel to the target. */
  readonly channel: Channel
  readonly reference: HandoffReference
  /** The server that has the connection, undefined when it is here. */
  readonly remote: RemoteOrigin | undefined
  readonly outcome: Promise<HandoffOutcome>
  readonly #context: CoordinatorContext
  readonly #local: OriginConnection | undefined
  readonly #steer: SteerTarget | undefined
  readonly #options: HandOffOptions
  readonly #content: OfferContent
  readonly #ports: RunPorts
  readonly #timers: RunTimers<CoordinatorTimer>
  readonly #times: StepClock
  readonly #machine: StateMachine<CoordinatorState, CoordinatorEvent, CoordinatorEffect>
  /** Operations of the redirector that it has not answered. */
  #unanswered = 0
  #resolve: (outcome: HandoffOutcome) => void = () => {}
  readonly #onAbort = (): void => this.dispatch({ type: 'aborted', text: errorText(this.#options.signal?.reason) })

  constructor(
    context: CoordinatorContext,
    parameters: CoordinatorParameters,
    connection: OriginConnection | YieldedConnection,
    destination: HandoffDestination,
    application: Uint8Array,
    options: HandOffOptions,
  ) {
    this.#context = context
    this.#options = options
    this.#content = new OfferContent(application)
    this.#steer = destination.steer
    this.flow = connection.flow
    this.channel = destination.channel
    this.reference = referenceOf(parameters)
    if ('freeze' in connection) this.#local = connection
    else this.remote = new RemoteOrigin(connection, this.reference, context.owe)
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#ports = new RunPorts(context.redirector, context.onError, this.flow)
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.#times = new StepClock(context.clock)
    this.#machine = new StateMachine(coordinatorStart(parameters), {
      step: (state, event) => this.#step(state, event),
      perform: (effect) => this.#perform(effect),
      idle: () => {
        if (this.#state.phase === 'finished') this.#context.finished(this)
      },
    })
  }

  /** Whether the commit has happened. */
  get committed(): boolean {
    return this.#state.phase === 'committing' || this.#state.phase === 'grace'
  }

  /** Whether the outcome is not known yet. */
  get isInFlight(): boolean {
    return this.#state.phase !== 'grace' && this.#state.phase !== 'finished'
  }

  get lost(): boolean {
    return this.#state.lost
  }

  /** Whether the redirector has answered everything that it was asked to do. */
  get isAnswered(): boolean {
    return this.#unanswered === 0
  }

  /** To be called once, when the run is registered: it may finish within this call. */
  begin(): void {
    this.#options.signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#machine.begin()
  }

  dispatch(event: CoordinatorEvent): void {
    if (this.#state.phase !== 'finished') this.#machine.dispatch(event)
  }

  /** The server that has the connection offers it. What is wrong with the offer is told to nobody but the caller. */
  offered(message: OfferMessage): void {
    if (this.#state.phase !== 'taking') {
      wipeOffer(message)
      return
    }
    try {
      const snapshot = decodeSnapshot(message.snapshot)
      if (!snapshot.flow.equals(this.flow))
        throw new CodecError(`the snapshot is that of another flow, ${snapshot.flow}`)
      this.#content.relay(message)
      const acknowledge = this.#options.acknowledge ?? hasUnacknowledgedBytes(snapshot)
      this.dispatch({ type: 'offered', acknowledge })
    } catch (error) {
      wipeOffer(message)
      this.dispatch({ type: 'take-failed', text: errorText(error) })
    }
  }

  get #state(): CoordinatorState {
    return this.#machine.state
  }

  #step(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
    const step = coordinatorStep(state, event)
    if (state.phase !== step.state.phase) {
      this.#times.ended(state.phase)
      if (event.type === 'message') this.#times.answered(event.message)
    }
    return step
  }

  #perform(effect: CoordinatorEffect): void {
    const { flow, reference: handoff } = this
    switch (effect.type) {
      case 'lock':
        this.#put({ action: 'hold', flow, handoff }, 'locked', 'lock-failed')
        return
      case 'silence':
        this.#put({ action: 'hold', flow, silent: true, handoff }, 'silenced', 'silence-failed')
        return
      case 'steer':
        this.#verifyAndSteer()
        return
      case 'cancel':
        this.#ports.cancel()
        return
      case 'unsilence':
        this.#bringBack('unsilenced', 'unsilence-failed', { action: 'hold', flow, handoff })
        return
      case 'unlock':
        this.#bringBack('unlocked', 'unlock-failed')
        return
      case 'return':
        this.#bringBack('unlocked', 'unlock-failed', (this.remote as RemoteOrigin).rule)
        return
      case 'take':
        this.#call(() => this.remote?.take(), undefined, 'take-failed')
        return
      case 'freeze':
        this.#call(() => this.#local?.freeze(), { type: 'frozen' }, 'freeze-failed')
        return
      case 'thaw':
        this.#call(() => this.#origin.thaw(), { type: 'thawed' }, 'thaw-failed')
        return
      case 'snapshot':
        this.#takeSnapshot()
        return
      case 'offer':
        this.#call(() => this.#content.send(this.channel, handoff), undefined, 'send-failed')
        return
      case 'send':
        this.#send(effect.message)
        return
      case 'release':
        this.#ports.attempt('release', () => this.#origin.release())
        return
      case 'reset':
        this.#ports.attempt('reset', () => this.#origin.reset())
        return
      case 'start-timer':
        this.#timers.start(effect.timer, effect.milliseconds)
        return
      case 'cancel-timer':
        this.#timers.cancel(effect.timer)
        return
      case 'complete':
        this.#complete(effect.result, effect.failure)
        return
    }
  }

  /** Where the connection is frozen. */
  get #origin(): Pick<OriginConnection, 'thaw' | 'release' | 'reset'> {
    return this.#local ?? (this.remote as RemoteOrigin)
  }

  #put(
    rule: Rule,
    done: 'locked' | 'silenced' | 'steered',
    failed: 'lock-failed' | 'silence-failed' | 'steer-failed',
  ): void {
    const onDone = (): void => this.#answered({ type: done })
    const onFailure = (text: string): void => this.#answered({ type: failed, text })
    const onPut = (): void => {
      // A rule that comes after it was given up is there, whatever the socket does by then.
      if (done !== 'silenced' || this.#state.phase !== 'silencing') onDone()
      else this.#ports.call(() => this.#local?.verify(), onDone, onFailure)
    }
    this.#unanswered += 1
    this.#ports.put(rule, onPut, onFailure)
  }

  /** The last moment at which a packet that came late at the origin does not matter. */
  #verifyAndSteer(): void {
    const { flow, reference: handoff } = this
    const steer = (): void => {
      // The gateway as target removes the hold itself, when it is told to commit.
      if (this.#steer === undefined) this.dispatch({ type: 'steered' })
      else this.#put({ action: 'steer', flow, target: this.#steer, handoff }, 'steered', 'steer-failed')
    }
    const changed = (text: string): void => this.dispatch({ type: 'steer-failed', text })
    this.#ports.call(() => this.#local?.verify(), steer, changed)
  }

  /** @param rule what the flow's rule is replaced by; else it is removed. */
  #bringBack(done: 'unsilenced' | 'unlocked', failed: 'unsilence-failed' | 'unlock-failed', rule?: Rule): void {
    const onDone = (): void => this.#answered({ type: done })
    const onFailure = (text: string): void => this.#answered({ type: failed, text })
    this.#unanswered += 1
    this.#ports.unlock(this.flow, onDone, onFailure, rule)
  }

  /** The redirector has answered. */
  #answered(event: CoordinatorEvent): void {
    this.#unanswered -= 1
    if (this.#state.phase === 'finished') this.#context.answeredLate(this, isPut(event))
    else this.dispatch(event)
  }

  #call(
    call: () => void,
    done: CoordinatorEvent | undefined,
    failed: 'take-failed' | 'freeze-failed' | 'thaw-failed' | 'send-failed',
  ): void {
    this.#ports.call(
      call,
      () => done && this.dispatch(done),
      (text) => this.dispatch({ type: failed, text }),
    )
  }

  #takeSnapshot(): void {
    let acknowledge = false
    const take = (): void => {
      const snapshot = (this.#local as OriginConnection).snapshot()
      this.#content.snapshot = snapshot
      acknowledge = this.#options.acknowledge ?? hasUnacknowledgedBytes(snapshot)
    }
    this.#ports.call(
      take,
      () => this.dispatch({ type: 'snapshot-taken', acknowledge }),
      (text) => this.dispatch({ type: 'snapshot-failed', text }),
    )
  }

  #send(message: CommitMessage | AbortMessage): void {
    if (message.type === 'abort') sendOrOwe(this.channel, message, this.#context.owe)
    // Without a channel a commit waits for its return.
    else if (this.channel.connected) this.#call(() => this.channel.send(message), undefined, 'send-failed')
  }

  #complete(result: HandoffOutcome['result'], failure: HandoffFailure | undefined): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#content.wipe()
    const { handoff } = this.reference
    this.#resolve({ result, handoff, ...(failure && { failure }), times: this.#times.finish() })
    this.#context.completed(this)
  }
}
