import { hasUnacknowledgedBytes } from '../codec/snapshot.ts'
import type { Channel, Clock, ErrorListener, OriginConnection, RuleTable } from '../ports.ts'
import type { AbortMessage, CommitMessage } from '../protocol/messages.ts'
import type { Rule, SteerTarget } from '../redirector.ts'
import type { TcpSnapshot } from '../snapshot.ts'
import { errorText } from './error-text.ts'
import { originStart, originStep } from './origin.ts'
import type {
  HandoffFailure,
  OriginEffect,
  OriginEvent,
  OriginParameters,
  OriginPhase,
  OriginState,
  OriginStep,
  OriginTimer,
} from './origin-state.ts'
import type { HandOffOptions, HandoffDestination, HandoffOutcome, StepTimes } from './outcome.ts'
import { RunTimers } from './run-timers.ts'
import type { TimerWheel } from './timer-wheel.ts'

/** What all handoffs of one origin share. */
export interface OriginContext {
  readonly redirector: RuleTable
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly onError: ErrorListener
  /** An abort that the channel does not take now. */
  owe(channel: Channel, message: AbortMessage): void
  /** The outcome is known. */
  completed(run: OriginRun): void
  /** Nothing is left of the handoff. */
  finished(run: OriginRun): void
  /** A rule was put after the handoff had been given up. */
  orphaned(run: OriginRun): void
}

const STEP_OF: Partial<Record<OriginPhase, keyof StepTimes>> = {
  locking: 'lock',
  freezing: 'freeze',
  snapshotting: 'snapshot',
  silencing: 'silence',
  offering: 'offer',
  steering: 'steer',
  committing: 'commit',
}

/** Carries out the effects of one handoff at its origin. */
export class OriginRun {
  readonly connection: OriginConnection
  readonly channel: Channel
  readonly handoff: number
  readonly outcome: Promise<HandoffOutcome>
  readonly #context: OriginContext
  readonly #steer: SteerTarget
  readonly #options: HandOffOptions
  readonly #controller = new AbortController()
  readonly #times: StepTimes = { total: 0 }
  readonly #started: number
  #application: Uint8Array | undefined
  #snapshot: TcpSnapshot | undefined
  readonly #timers: RunTimers<OriginTimer>
  #first: OriginStep | undefined
  #state: OriginState
  #stepStarted: number
  #events: OriginEvent[] = []
  #running = false
  #resolve: (outcome: HandoffOutcome) => void = () => {}
  readonly #onAbort = (): void => this.dispatch({ type: 'aborted', text: errorText(this.#options.signal?.reason) })

  constructor(
    context: OriginContext,
    parameters: OriginParameters,
    connection: OriginConnection,
    destination: HandoffDestination,
    application: Uint8Array,
    options: HandOffOptions,
  ) {
    this.#context = context
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.#options = options
    this.#application = application
    this.#steer = destination.steer
    this.connection = connection
    this.channel = destination.channel
    this.handoff = parameters.handoff
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#started = context.clock.now()
    this.#stepStarted = this.#started
    this.#first = originStart(parameters)
    this.#state = this.#first.state
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

  dispatch(event: OriginEvent): void {
    if (this.#state.phase === 'finished') {
      const put = event.type === 'locked' || event.type === 'silenced' || event.type === 'steered'
      if (put) this.#context.orphaned(this)
      return
    }
    this.#events.push(event)
    if (!this.#running) this.#drain()
  }

  /** Events that effects cause are worked off one after the other, each when the effects of the one before it are done. */
  #drain(): void {
    this.#running = true
    for (let event = this.#events.shift(); event; event = this.#events.shift()) {
      const before = this.#state
      const step = originStep(before, event)
      this.#state = step.state
      if (before.phase !== step.state.phase) this.#measure(before.phase, event)
      for (const effect of step.effects) this.#perform(effect)
    }
    this.#running = false
    if (this.#state.phase === 'finished') this.#context.finished(this)
  }

  #measure(phase: OriginPhase, event: OriginEvent): void {
    const now = this.#context.clock.now()
    const step = STEP_OF[phase]
    if (step) this.#times[step] = now - this.#stepStarted
    this.#stepStarted = now
    if (event.type !== 'message') return
    if (event.message.type === 'accept') this.#times.restore = event.message.restoreMicroseconds
    if (event.message.type === 'committed') this.#times.adopt = event.message.adoptMicroseconds
  }

  #perform(effect: OriginEffect): void {
    const { flow } = this.connection
    switch (effect.type) {
      case 'lock':
        this.#put({ action: 'hold', flow }, 'locked', 'lock-failed')
        return
      case 'silence':
        this.#put({ action: 'hold', flow, silent: true }, 'silenced', 'silence-failed', () => this.connection.verify())
        return
      case 'steer':
        this.#put({ action: 'steer', flow, target: this.#steer }, 'steered', 'steer-failed')
        return
      case 'cancel':
        this.#controller.abort()
        return
      case 'unlock':
        this.#unlock()
        return
      case 'freeze':
        this.#call(() => this.connection.freeze(), { type: 'frozen' }, 'freeze-failed')
        return
      case 'thaw':
        this.#call(() => this.connection.thaw(), { type: 'thawed' }, 'thaw-failed')
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
        this.#last('release', () => this.connection.release())
        return
      case 'reset':
        this.#last('reset', () => this.connection.reset())
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
    const onFailure = (error: unknown): void => this.dispatch({ type: failed, text: errorText(error) })
    try {
      this.#context.redirector.put(rule, { signal: this.#controller.signal }).then(() => {
        try {
          check?.()
        } catch (error) {
          onFailure(error)
          return
        }
        this.dispatch({ type: done })
      }, onFailure)
    } catch (error) {
      onFailure(error)
    }
  }

  #unlock(): void {
    const onFailure = (error: unknown): void => {
      this.#report(error, 'unlock')
      this.dispatch({ type: 'unlock-failed', text: errorText(error) })
    }
    try {
      this.#context.redirector.remove(this.connection.flow).then(() => this.dispatch({ type: 'unlocked' }), onFailure)
    } catch (error) {
      onFailure(error)
    }
  }

  #call(call: () => void, done: OriginEvent, failed: 'freeze-failed' | 'thaw-failed'): void {
    try {
      call()
    } catch (error) {
      this.dispatch({ type: failed, text: errorText(error) })
      return
    }
    this.dispatch(done)
  }

  #takeSnapshot(): void {
    try {
      this.#snapshot = this.connection.snapshot()
    } catch (error) {
      this.dispatch({ type: 'snapshot-failed', text: errorText(error) })
      return
    }
    const acknowledge = this.#options.acknowledge ?? hasUnacknowledgedBytes(this.#snapshot)
    this.dispatch({ type: 'snapshot-taken', acknowledge })
  }

  #offer(): void {
    const { handoff, epoch } = this.#state
    const snapshot = this.#snapshot as TcpSnapshot
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
    this.#context.onError(error, { flow: this.connection.flow, step })
  }

  #complete(result: HandoffOutcome['result'], failure: HandoffFailure | undefined): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#snapshot = undefined
    this.#application = undefined
    this.#times.total = this.#context.clock.now() - this.#started
    const { handoff } = this
    this.#resolve(failure ? { result, handoff, failure, times: this.#times } : { result, handoff, times: this.#times })
    this.#context.completed(this)
  }
}
