import type { FlowKey } from '../flow.ts'
import type { Channel, ErrorListener, OriginConnection, RuleTable } from '../ports.ts'
import type { HandoffReference, RefuseMessage } from '../protocol/messages.ts'
import type { Rule, SteerTarget } from '../redirector.ts'
import type { TcpSnapshot } from '../snapshot.ts'
import { errorText } from './error-text.ts'
import { originStart, originStep } from './origin.ts'
import type {
  OriginEffect,
  OriginEvent,
  OriginParameters,
  OriginPhase,
  OriginResult,
  OriginState,
  OriginTimer,
} from './origin-state.ts'
import { RunTimers } from './run-timers.ts'
import type { TimerWheel } from './timer-wheel.ts'

/** What became of a connection that was to be given. */
export interface OriginOutcome {
  readonly result: OriginResult
  /** Why it was not given. */
  readonly failure?: string
}

/** What all handoffs of one origin share. */
export interface OriginContext {
  readonly redirector: RuleTable
  readonly wheel: TimerWheel
  readonly onError: ErrorListener
  /** Nothing is left of the handoff. */
  finished(run: OriginRun): void
  /** A rule was put after the handoff had been given up. */
  orphaned(run: OriginRun): void
}

/** A connection that a server gives, and where it goes. */
export interface Gift {
  readonly connection: OriginConnection
  /** The control channel to the gateway. */
  readonly channel: Channel
  /** How this host's redirector reaches the gateway, for packets that arrive late. */
  readonly gateway: SteerTarget
  /** What this host's application tells the target's. */
  readonly application: Uint8Array
}

/** Carries out the effects of one handoff at the server that gives the connection. */
export class OriginRun {
  readonly flow: FlowKey
  readonly reference: HandoffReference
  /** The handoff that brought the connection to this host. */
  readonly arrival: HandoffReference
  readonly channel: Channel
  readonly outcome: Promise<OriginOutcome>
  readonly #context: OriginContext
  readonly #connection: OriginConnection
  readonly #gateway: SteerTarget
  readonly #timers: RunTimers<OriginTimer>
  readonly #controller = new AbortController()
  #application: Uint8Array | undefined
  #snapshot: TcpSnapshot | undefined
  #state: OriginState
  #events: OriginEvent[] = []
  #effects: readonly OriginEffect[]
  #running = false
  #resolve: (outcome: OriginOutcome) => void = () => {}

  constructor(context: OriginContext, parameters: OriginParameters, gift: Gift, arrival: HandoffReference) {
    this.#context = context
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.#connection = gift.connection
    this.#gateway = gift.gateway
    this.#application = gift.application
    this.flow = gift.connection.flow
    this.channel = gift.channel
    this.reference = { handoff: parameters.handoff, epoch: parameters.epoch }
    this.arrival = arrival
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve
    })
    const { state, effects } = originStart(parameters)
    this.#state = state
    this.#effects = effects
  }

  get phase(): OriginPhase {
    return this.#state.phase
  }

  /** To be called once, when the run is registered: it may finish within this call. */
  begin(): void {
    this.#running = true
    for (const effect of this.#effects) this.#perform(effect)
    this.#effects = []
    this.#drain()
  }

  dispatch(event: OriginEvent): void {
    if (this.#state.phase === 'finished') {
      const put = event.type === 'locked' || event.type === 'silenced' || event.type === 'forwarded'
      if (put) this.#context.orphaned(this)
      return
    }
    this.#events.push(event)
    if (!this.#running) this.#drain()
  }

  #drain(): void {
    this.#running = true
    for (let event = this.#events.shift(); event; event = this.#events.shift()) {
      const { state, effects } = originStep(this.#state, event)
      this.#state = state
      for (const effect of effects) this.#perform(effect)
    }
    this.#running = false
    if (this.#state.phase === 'finished') this.#context.finished(this)
  }

  #perform(effect: OriginEffect): void {
    const { flow, reference: handoff } = this
    switch (effect.type) {
      case 'lock':
        this.#put({ action: 'hold', flow, handoff }, 'locked', 'lock-failed')
        return
      case 'silence':
        this.#put({ action: 'hold', flow, silent: true, handoff }, 'silenced', 'silence-failed', () =>
          this.#connection.verify(),
        )
        return
      case 'forward':
        this.#put(
          { action: 'steer', flow, target: this.#gateway, returning: true, handoff },
          'forwarded',
          'forward-failed',
        )
        return
      case 'cancel':
        this.#controller.abort()
        return
      case 'unlock':
        this.#unlock()
        return
      case 'freeze':
        this.#call(() => this.#connection.freeze(), 'frozen', 'freeze-failed')
        return
      case 'snapshot':
        this.#call(() => this.#takeSnapshot(), 'snapshot-taken', 'snapshot-failed')
        return
      case 'thaw':
        this.#call(() => this.#connection.thaw(), 'thawed', 'thaw-failed')
        return
      case 'offer':
        this.#offer()
        return
      case 'send':
        this.#send(effect.message)
        return
      case 'release':
        this.#last('release', () => this.#connection.release())
        return
      case 'reset':
        this.#last('reset', () => this.#connection.reset())
        return
      case 'start-timer':
        this.#timers.start(effect.timer, effect.milliseconds)
        return
      case 'cancel-timer':
        this.#timers.cancel(effect.timer)
        return
      case 'complete':
        this.#snapshot = undefined
        this.#application = undefined
        this.#resolve({ result: effect.result, ...(effect.failure !== undefined && { failure: effect.failure }) })
        return
    }
  }

  #put(
    rule: Rule,
    done: 'locked' | 'silenced' | 'forwarded',
    failed: 'lock-failed' | 'silence-failed' | 'forward-failed',
    check?: () => void,
  ): void {
    const onFailure = (error: unknown): void => this.dispatch({ type: failed, text: errorText(error) })
    const onDone = (): void => {
      // A rule that comes after it was given up is there, whatever the socket does by then.
      if (check && this.#state.phase === 'silencing') this.#call(check, done, failed)
      else this.dispatch({ type: done })
    }
    try {
      this.#context.redirector.put(rule, { signal: this.#controller.signal }).then(onDone, onFailure)
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
      this.#context.redirector.remove(this.flow).then(() => this.dispatch({ type: 'unlocked' }), onFailure)
    } catch (error) {
      onFailure(error)
    }
  }

  #call(
    call: () => void,
    done: 'locked' | 'frozen' | 'snapshot-taken' | 'silenced' | 'forwarded' | 'thawed',
    failed: 'lock-failed' | 'freeze-failed' | 'snapshot-failed' | 'silence-failed' | 'forward-failed' | 'thaw-failed',
  ): void {
    try {
      call()
    } catch (error) {
      this.dispatch({ type: failed, text: errorText(error) })
      return
    }
    this.dispatch({ type: done })
  }

  #takeSnapshot(): void {
    this.#snapshot = this.#connection.snapshot()
  }

  #offer(): void {
    const snapshot = this.#snapshot as TcpSnapshot
    const application = this.#application as Uint8Array
    this.#snapshot = undefined
    this.#application = undefined
    try {
      this.channel.send({ type: 'offer', ...this.reference, snapshot, application })
    } catch (error) {
      this.dispatch({ type: 'send-failed', text: errorText(error) })
    }
  }

  /** A refusal that is lost is no harm: the gateway's time limit says the same. */
  #send(message: RefuseMessage): void {
    if (this.channel.connected) this.#last('refuse', () => this.channel.send(message))
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
}
