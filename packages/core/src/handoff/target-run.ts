import { decodeSnapshot, hasUnacknowledgedBytes } from '../codec/snapshot.ts'
import type { FlowKey } from '../flow.ts'
import type { Application, Channel, Clock, ErrorListener, RestoredConnection, Restorer, RuleTable } from '../ports.ts'
import type { HandoffReference, OfferMessage } from '../protocol/messages.ts'
import type { TcpSnapshot } from '../snapshot.ts'
import { errorText, wholeMicroseconds } from './error-text.ts'
import { RunTimers } from './run-timers.ts'
import { isLast, targetStart, targetStep } from './target.ts'
import type {
  Refusal,
  TargetEffect,
  TargetEvent,
  TargetLimits,
  TargetState,
  TargetStep,
  TargetTimer,
} from './target-state.ts'
import type { TimerWheel } from './timer-wheel.ts'

/** What all handoffs to one target share. */
export interface TargetContext<C extends RestoredConnection> {
  readonly redirector: RuleTable
  readonly restorer: Restorer<C>
  readonly application: Application<C>
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly limits: TargetLimits
  readonly onError: ErrorListener
  /** Reserves the flow for this handoff, or says why not. */
  claim(run: TargetRun<C>, flow: FlowKey): Refusal | undefined
  /** Makes room for a flow that this host has given away. */
  supersede(flow: FlowKey): boolean | Promise<unknown>
  /** Nothing is left but the answer to duplicates. */
  finished(run: TargetRun<C>, state: TargetState): void
  /** A lock was put after the handoff had been given up. */
  orphaned(flow: FlowKey): void
}

const NOTHING = new Uint8Array()

/** Carries out the effects of one handoff at its target. */
export class TargetRun<C extends RestoredConnection> {
  readonly key: string
  /** Where the answers go: the channel of the last message. */
  channel: Channel
  /** Known as soon as the offer is validated. */
  flow: FlowKey | undefined
  readonly #context: TargetContext<C>
  readonly #controller = new AbortController()
  #offer: OfferMessage | undefined
  #snapshot: TcpSnapshot | undefined
  #connection: C | undefined
  readonly #timers: RunTimers<TargetTimer>
  #first: TargetStep | undefined
  #state: TargetState
  #events: TargetEvent[] = []
  #running = false

  constructor(context: TargetContext<C>, key: string, channel: Channel, offer: OfferMessage) {
    this.#context = context
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.key = key
    this.channel = channel
    this.#offer = offer
    this.#first = targetStart({ handoff: offer.handoff, epoch: offer.epoch, limits: context.limits })
    this.#state = this.#first.state
  }

  get reference(): HandoffReference {
    return { handoff: this.#state.handoff, epoch: this.#state.epoch }
  }

  get state(): TargetState {
    return this.#state
  }

  /** To be called once, when the run is registered: it may finish within this call. */
  begin(): void {
    const first = this.#first
    this.#first = undefined
    if (!first) return
    this.#running = true
    for (const effect of first.effects) this.#perform(effect)
    this.#drain()
  }

  dispatch(event: TargetEvent): void {
    if (isLast(this.#state)) {
      if (event.type === 'locked' && this.flow) this.#context.orphaned(this.flow)
      if (event.type === 'adopt-failed') this.#report(new Error(event.text), 'adopt')
      return
    }
    this.#events.push(event)
    if (!this.#running) this.#drain()
  }

  #drain(): void {
    this.#running = true
    for (let event = this.#events.shift(); event; event = this.#events.shift()) {
      const step = targetStep(this.#state, event)
      this.#state = step.state
      for (const effect of step.effects) this.#perform(effect)
    }
    this.#running = false
    if (!isLast(this.#state)) return
    this.#connection = undefined
    this.#offer = undefined
    this.#snapshot = undefined
    this.#context.finished(this, this.#state)
  }

  #perform(effect: TargetEffect): void {
    switch (effect.type) {
      case 'validate':
        this.#validate()
        return
      case 'lock':
        this.#lock()
        return
      case 'cancel':
        this.#controller.abort()
        return
      case 'restore':
        this.#restore()
        return
      case 'unlock':
        this.#unlock()
        return
      case 'acknowledge':
        this.#last('acknowledge', (connection) => connection.acknowledge())
        return
      case 'adopt':
        this.#adopt()
        return
      case 'discard':
        this.#last('discard', (connection) => connection.discard())
        return
      case 'reset':
        this.#last('reset', (connection) => connection.reset())
        return
      case 'revoke':
        this.#last('revoke', () => this.#context.application.revoke?.({ host: this.channel.host, ...this.reference }))
        return
      case 'send':
        this.#send(effect)
        return
      case 'start-timer':
        this.#timers.start(effect.timer, effect.milliseconds)
        return
      case 'cancel-timer':
        this.#timers.cancel(effect.timer)
        return
    }
  }

  #validate(): void {
    let snapshot: TcpSnapshot
    try {
      snapshot = decodeSnapshot((this.#offer as OfferMessage).snapshot)
    } catch (error) {
      this.dispatch({ type: 'invalid', reason: 'invalid', text: errorText(error) })
      return
    }
    const refusal = this.#context.claim(this, snapshot.flow)
    if (refusal) {
      this.dispatch({ type: 'invalid', ...refusal })
      return
    }
    this.flow = snapshot.flow
    this.#snapshot = snapshot
    // The encoded bytes are not kept while the handoff waits for its commit.
    this.#offer = { ...(this.#offer as OfferMessage), snapshot: NOTHING }
    this.#makeRoom(snapshot)
  }

  #makeRoom(snapshot: TcpSnapshot): void {
    // When the offer is not wanted any more, what is in the way stays with those who have put it.
    const superseded = this.#state.aborted || this.#context.supersede(snapshot.flow)
    if (superseded === true) this.dispatch({ type: 'valid', acknowledge: hasUnacknowledgedBytes(snapshot) })
    else if (superseded !== false) superseded.then(() => this.#makeRoom(snapshot))
    else this.dispatch({ type: 'invalid', reason: 'busy', text: 'this host is still giving the connection away' })
  }

  #lock(): void {
    const onFailure = (error: unknown): void => this.dispatch({ type: 'lock-failed', text: errorText(error) })
    try {
      this.#context.redirector
        .put(
          { action: 'hold', flow: this.flow as FlowKey, handoff: this.reference },
          { signal: this.#controller.signal },
        )
        .then(() => this.dispatch({ type: 'locked' }), onFailure)
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
      this.#context.redirector.remove(this.flow as FlowKey).then(() => this.dispatch({ type: 'unlocked' }), onFailure)
    } catch (error) {
      onFailure(error)
    }
  }

  #restore(): void {
    const started = this.#context.clock.now()
    const snapshot = this.#snapshot as TcpSnapshot
    this.#snapshot = undefined
    try {
      this.#connection = this.#context.restorer.restore(snapshot)
    } catch (error) {
      this.dispatch({ type: 'restore-failed', text: errorText(error) })
      return
    }
    const restoreMicroseconds = wholeMicroseconds(this.#context.clock.now() - started)
    this.dispatch({ type: 'restored', restoreMicroseconds })
  }

  #adopt(): void {
    const started = this.#context.clock.now()
    const { handoff, epoch, application } = this.#offer as OfferMessage
    const arrival = { flow: this.flow as FlowKey, host: this.channel.host, handoff, epoch }
    const onSuccess = (): void => {
      const adoptMicroseconds = wholeMicroseconds(this.#context.clock.now() - started)
      this.dispatch({ type: 'adopted', adoptMicroseconds })
    }
    const onFailure = (error: unknown): void => this.dispatch({ type: 'adopt-failed', text: errorText(error) })
    try {
      const adoption = this.#context.application.adopt(this.#connection as C, application, arrival)
      // TypeScript lets a function that returns anything pass for one that returns void.
      if (adoption instanceof Promise) adoption.then(onSuccess, onFailure)
      else onSuccess()
    } catch (error) {
      onFailure(error)
    }
  }

  #last(step: string, call: (connection: C) => void): void {
    try {
      call(this.#connection as C)
    } catch (error) {
      this.#report(error, step)
    }
  }

  #send({ message }: Extract<TargetEffect, { type: 'send' }>): void {
    sendAnswer(this.channel, message, (error) => this.#report(error, 'answer'))
  }

  #report(error: unknown, step: string): void {
    if (this.flow) this.#context.onError(error, { flow: this.flow, step })
    else this.#context.onError(error, { step })
  }
}

/** An answer that cannot be sent is no loss: the origin asks again, or gives up, and time limits do the rest. */
export function sendAnswer(
  channel: Channel,
  message: Extract<TargetEffect, { type: 'send' }>['message'],
  onError: (error: unknown) => void,
): void {
  if (!channel.connected) return
  try {
    channel.send(message)
  } catch (error) {
    onError(error)
  }
}
