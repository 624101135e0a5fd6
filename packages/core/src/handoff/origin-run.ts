import type { FlowKey } from '../flow.ts'
import type { Channel, ErrorListener, OriginConnection, RuleTable } from '../ports.ts'
import type { HandoffReference, RefuseMessage } from '../protocol/messages.ts'
import { referenceOf } from '../protocol/reference.ts'
import type { Rule, SteerTarget } from '../redirector.ts'
import { OfferContent } from './offer-content.ts'
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
import { RunPorts } from './run-ports.ts'
import { RunTimers } from './run-timers.ts'
import { StateMachine } from './state-machine.ts'
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
  /** What this host's application tells the target's. Overwritten when it is not needed any more. */
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
  readonly #content: OfferContent
  readonly #ports: RunPorts
  readonly #timers: RunTimers<OriginTimer>
  readonly #machine: StateMachine<OriginState, OriginEvent, OriginEffect>
  #resolve: (outcome: OriginOutcome) => void = () => {}

  constructor(context: OriginContext, parameters: OriginParameters, gift: Gift, arrival: HandoffReference) {
    this.#context = context
    this.#connection = gift.connection
    this.#gateway = gift.gateway
    this.#content = new OfferContent(gift.application)
    this.flow = gift.connection.flow
    this.channel = gift.channel
    this.reference = referenceOf(parameters)
    this.arrival = arrival
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#ports = new RunPorts(context.redirector, context.onError, this.flow)
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.#machine = new StateMachine(originStart(parameters), {
      step: originStep,
      perform: (effect) => this.#perform(effect),
      idle: () => {
        if (this.phase === 'finished') this.#context.finished(this)
      },
    })
  }

  get phase(): OriginPhase {
    return this.#machine.state.phase
  }

  /** To be called once, when the run is registered: it may finish within this call. */
  begin(): void {
    this.#machine.begin()
  }

  dispatch(event: OriginEvent): void {
    if (this.phase !== 'finished') {
      this.#machine.dispatch(event)
      return
    }
    const put = event.type === 'locked' || event.type === 'silenced' || event.type === 'forwarded'
    if (put) this.#context.orphaned(this)
  }

  #perform(effect: OriginEffect): void {
    const { flow, reference: handoff } = this
    switch (effect.type) {
      case 'lock':
        this.#put({ action: 'hold', flow, handoff }, 'locked', 'lock-failed')
        return
      case 'silence':
        this.#put({ action: 'hold', flow, silent: true, handoff }, 'silenced', 'silence-failed')
        return
      case 'forward':
        this.#put(
          { action: 'steer', flow, target: this.#gateway, returning: true, handoff },
          'forwarded',
          'forward-failed',
        )
        return
      case 'cancel':
        this.#ports.cancel()
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
        this.#call(() => this.#content.send(this.channel, handoff), undefined, 'send-failed')
        return
      case 'send':
        this.#send(effect.message)
        return
      case 'release':
        this.#ports.attempt('release', () => this.#connection.release())
        return
      case 'reset':
        this.#ports.attempt('reset', () => this.#connection.reset())
        return
      case 'start-timer':
        this.#timers.start(effect.timer, effect.milliseconds)
        return
      case 'cancel-timer':
        this.#timers.cancel(effect.timer)
        return
      case 'complete':
        this.#content.wipe()
        this.#resolve({ result: effect.result, ...(effect.failure !== undefined && { failure: effect.failure }) })
        return
    }
  }

  #put(
    rule: Rule,
    done: 'locked' | 'silenced' | 'forwarded',
    failed: 'lock-failed' | 'silence-failed' | 'forward-failed',
  ): void {
    const onPut = (): void => {
      // A rule that comes after it was given up is there, whatever the socket does by then.
      if (done !== 'silenced' || this.phase !== 'silencing') this.dispatch({ type: done })
      else this.#call(() => this.#connection.verify(), done, failed)
    }
    this.#ports.put(rule, onPut, (text) => this.dispatch({ type: failed, text }))
  }

  #unlock(): void {
    this.#ports.unlock(
      this.flow,
      () => this.dispatch({ type: 'unlocked' }),
      (text) => this.dispatch({ type: 'unlock-failed', text }),
    )
  }

  #call(
    call: () => void,
    done: 'frozen' | 'snapshot-taken' | 'silenced' | 'thawed' | undefined,
    failed: Exclude<Extract<OriginEvent, { text: string }>['type'], 'aborted'>,
  ): void {
    this.#ports.call(
      call,
      () => done && this.dispatch({ type: done }),
      (text) => this.dispatch({ type: failed, text }),
    )
  }

  #takeSnapshot(): void {
    this.#content.snapshot = this.#connection.snapshot()
  }

  /** A refusal that is lost is no harm: the gateway's time limit says the same. */
  #send(message: RefuseMessage): void {
    if (this.channel.connected) this.#ports.attempt('refuse', () => this.channel.send(message))
  }
}
