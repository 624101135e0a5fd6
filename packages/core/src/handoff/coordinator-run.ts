import { decodeSnapshot, hasUnacknowledgedBytes } from '../codec/snapshot.ts'
import { CodecError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import type { Channel, Clock, ErrorListener, OriginConnection, RuleTable, YieldedConnection } from '../ports.ts'
import type { AbortMessage, CommitMessage, HandoffReference, OfferMessage } from '../protocol/messages.ts'
import type { Rule, SteerTarget } from '../redirector.ts'
import type { TcpSnapshot } from '../snapshot.ts'
import { coordinatorStart, coordinatorStep } from './coordinator.ts'
import type {
  CoordinatorEffect,
  CoordinatorEvent,
  CoordinatorParameters,
  CoordinatorPhase,
  CoordinatorState,
  CoordinatorStep,
  CoordinatorTimer,
  HandoffFailure,
} from './coordinator-state.ts'
import { errorText } from './error-text.ts'
import type { HandOffOptions, HandoffDestination, HandoffOutcome, StepTimes } from './outcome.ts'
import { type Owed, RemoteOrigin } from './remote-origin.ts'
import { RunTimers } from './run-timers.ts'
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

const STEP_OF: Partial<Record<CoordinatorPhase, keyof StepTimes>> = {
  locking: 'lock',
  taking: 'take',
  freezing: 'freeze',
  snapshotting: 'snapshot',
  silencing: 'silence',
  offering: 'offer',
  steering: 'steer',
  committing: 'commit',
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
  readonly #controller = new AbortController()
  readonly #times: StepTimes = { total: 0 }
  readonly #started: number
  #application: Uint8Array | undefined
  /** As it was taken here, or as a server has encoded it. */
  #snapshot: TcpSnapshot | Uint8Array | undefined
  readonly #timers: RunTimers<CoordinatorTimer>
  #first: CoordinatorStep | undefined
  #state: CoordinatorState
  #stepStarted: number
  #events: CoordinatorEvent[] = []
  #running = false
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
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.#options = options
    this.#application = application
    this.#steer = destination.steer
    this.flow = connection.flow
    this.channel = destination.channel
    this.reference = { handoff: parameters.handoff, epoch: parameters.epoch }
    if ('freeze' in connection) this.#local = connection
    else this.remote = new RemoteOrigin(connection, this.reference, context.owe)
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#started = context.clock.now()
    this.#stepStarted = this.#started
    this.#first = coordinatorStart(parameters)
    this.#state = this.#first.state
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

  /** To be called once, when the run is registered: it may finish within this call. */
  begin(): void {
    const first = this.#first
    this.#first = undefined
    if (!first) return
    this.#options.signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#running = true
    for (const effect of first.effects) this.#perform(effect)
    this.#drain()
  }

  /** Whether the redirector has answered everything that it was asked to do. */
  get isAnswered(): boolean {
    return this.#unanswered === 0
  }

  dispatch(event: CoordinatorEvent): void {
    if (this.#state.phase === 'finished') return
    this.#events.push(event)
    if (!this.#running) this.#drain()
  }

  /** The server that has the connection offers it. What is wrong with the offer is told to nobody but the caller. */
  offered(message: OfferMessage): void {
    if (this.#state.phase !== 'taking') return
    try {
      const snapshot = decodeSnapshot(message.snapshot)
      if (!snapshot.flow.equals(this.flow))
        throw new CodecError(`the snapshot is that of another flow, ${snapshot.flow}`)
      this.#snapshot = message.snapshot
      this.#application = message.application
      const acknowledge = this.#options.acknowledge ?? hasUnacknowledgedBytes(snapshot)
      this.dispatch({ type: 'offered', acknowledge })
    } catch (error) {
      this.dispatch({ type: 'take-failed', text: errorText(error) })
    }
  }

  /** Events that effects cause are worked off one after the other, each when the effects of the one before it are done. */
  #drain(): void {
    this.#running = true
    for (let event = this.#events.shift(); event; event = this.#events.shift()) {
      const before = this.#state
      const step = coordinatorStep(before, event)
      this.#state = step.state
      if (before.phase !== step.state.phase) this.#measure(before.phase, event)
      for (const effect of step.effects) this.#perform(effect)
    }
    this.#running = false
    if (this.#state.phase === 'finished') this.#context.finished(this)
  }

  #measure(phase: CoordinatorPhase, event: CoordinatorEvent): void {
    const now = this.#context.clock.now()
    const step = STEP_OF[phase]
    if (step) this.#times[step] = now - this.#stepStarted
    this.#stepStarted = now
    if (event.type !== 'message') return
    if (event.message.type === 'accept') this.#times.restore = event.message.restoreMicroseconds
    if (event.message.type === 'committed') this.#times.adopt = event.message.adoptMicroseconds
  }

  #perform(effect: CoordinatorEffect): void {
    const { flow, reference: handoff } = this
    switch (effect.type) {
      case 'lock':
        this.#put({ action: 'hold', flow, handoff }, 'locked', 'lock-failed')
        return
      case 'silence':
        this.#put({ action: 'hold', flow, silent: true, handoff }, 'silenced', 'silence-failed', () =>
          this.#local?.verify(),
        )
        return
      case 'steer':
        // The gateway as target removes the hold itself, when it is told to commit.
        if (this.#steer === undefined) this.dispatch({ type: 'steered' })
        else this.#put({ action: 'steer', flow, target: this.#steer, handoff }, 'steered', 'steer-failed')
        return
      case 'cancel':
        this.#controller.abort()
        return
      case 'unlock':
        this.#undo(() => this.#context.redirector.remove(flow))
        return
      case 'return':
        this.#undo(() => this.#context.redirector.put((this.remote as RemoteOrigin).rule))
        return
      case 'take':
        this.#take()
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
        this.#offer()
        return
      case 'send':
        this.#send(effect.message)
        return
      case 'release':
        this.#last('release', () => this.#origin.release())
        return
      case 'reset':
        this.#last('reset', () => this.#origin.reset())
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

  #put(
    rule: Rule,
    done: 'locked' | 'silenced' | 'steered',
    failed: 'lock-failed' | 'silence-failed' | 'steer-failed',
    check?: () => void,
  ): void {
    this.#operate(
      () => this.#context.redirector.put(rule, { signal: this.#controller.signal }),
      () => {
        try {
          // A rule that comes after it was given up is there, whatever the socket does by then.
          if (this.#state.phase === 'silencing') check?.()
          return { type: done }
        } catch (error) {
          return { type: failed, text: errorText(error) }
        }
      },
      (error) => ({ type: failed, text: errorText(error) }),
    )
  }

  #operate(
    operation: () => Promise<unknown>,
    done: () => CoordinatorEvent,
    failed: (error: unknown) => CoordinatorEvent,
  ): void {
    const answered = (event: CoordinatorEvent): void => {
      this.#unanswered -= 1
      if (this.#state.phase === 'finished') this.#context.answeredLate(this, isPut(event))
      else this.dispatch(event)
    }
    this.#unanswered += 1
    try {
      operation().then(
        () => answered(done()),
        (error) => answered(failed(error)),
      )
    } catch (error) {
      answered(failed(error))
    }
  }

  /** Where the connection is frozen. */
  get #origin(): Pick<OriginConnection, 'thaw' | 'release' | 'reset'> {
    return this.#local ?? (this.remote as RemoteOrigin)
  }

  #undo(operation: () => Promise<unknown>): void {
    this.#operate(
      operation,
      () => ({ type: 'unlocked' }),
      (error) => {
        this.#report(error, 'unlock')
        return { type: 'unlock-failed', text: errorText(error) }
      },
    )
  }

  #take(): void {
    try {
      this.remote?.take()
    } catch (error) {
      this.dispatch({ type: 'take-failed', text: errorText(error) })
    }
  }

  #call(call: () => void, done: CoordinatorEvent, failed: 'freeze-failed' | 'thaw-failed'): void {
    try {
      call()
    } catch (error) {
      this.dispatch({ type: failed, text: errorText(error) })
      return
    }
    this.dispatch(done)
  }

  #takeSnapshot(): void {
    let snapshot: TcpSnapshot
    try {
      snapshot = (this.#local as OriginConnection).snapshot()
    } catch (error) {
      this.dispatch({ type: 'snapshot-failed', text: errorText(error) })
      return
    }
    this.#snapshot = snapshot
    const acknowledge = this.#options.acknowledge ?? hasUnacknowledgedBytes(snapshot)
    this.dispatch({ type: 'snapshot-taken', acknowledge })
  }

  #offer(): void {
    const { handoff, epoch } = this.#state
    const snapshot = this.#snapshot as TcpSnapshot | Uint8Array
    const application = this.#application as Uint8Array
    this.#snapshot = undefined
    this.#application = undefined
    try {
      this.channel.send({ type: 'offer', handoff, epoch, snapshot, application })
    } catch (error) {
      this.dispatch({ type: 'send-failed', text: errorText(error) })
    }
  }

  #send(message: CommitMessage | AbortMessage): void {
    // Without a channel a commit waits for its return; an abort is owed.
    if (!this.channel.connected) {
      if (message.type === 'abort') this.#context.owe(this.channel, message)
      return
    }
    try {
      this.channel.send(message)
    } catch (error) {
      if (message.type === 'abort') this.#context.owe(this.channel, message)
      else this.dispatch({ type: 'send-failed', text: errorText(error) })
    }
  }

  #last(step: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#report(error, step)
    }
  }

  #report(error: unknown, step: string): void {
    this.#context.onError(error, { flow: this.flow, step })
  }

  #complete(result: HandoffOutcome['result'], failure: HandoffFailure | undefined): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#snapshot = undefined
    this.#application = undefined
    this.#times.total = this.#context.clock.now() - this.#started
    const { handoff } = this.reference
    this.#resolve(failure ? { result, handoff, failure, times: this.#times } : { result, handoff, times: this.#times })
    this.#context.completed(this)
  }
}

function isPut({ type }: CoordinatorEvent): boolean {
  return type === 'locked' || type === 'silenced' || type === 'steered'
}
