import { decodeSnapshot, hasUnacknowledgedBytes } from '../codec/snapshot.ts'
import type { FlowKey } from '../flow.ts'
import type { Application, Channel, Clock, ErrorListener, RestoredConnection, Restorer, RuleTable } from '../ports.ts'
import type { FromTargetMessage, HandoffReference, OfferMessage } from '../protocol/messages.ts'
import { referenceOf } from '../protocol/reference.ts'
import type { TcpSnapshot } from '../snapshot.ts'
import { errorText, wholeMicroseconds } from './error-text.ts'
import { RunPorts } from './run-ports.ts'
import { RunTimers } from './run-timers.ts'
import { StateMachine } from './state-machine.ts'
import { isLast, targetStart, targetStep } from './target.ts'
import type { Refusal, TargetEffect, TargetEvent, TargetLimits, TargetState, TargetTimer } from './target-state.ts'
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

/** Carries out the effects of one handoff at its target. */
export class TargetRun<C extends RestoredConnection> {
  readonly key: string
  readonly reference: HandoffReference
  /** Where the answers go: the channel of the last message. */
  channel: Channel
  readonly #context: TargetContext<C>
  /** What was offered, until the connection is restored. */
  #offer: OfferMessage | undefined
  /** The same, decoded: views of the offer's bytes. */
  #snapshot: TcpSnapshot | undefined
  /** What the origin's application sent along. Overwritten when the run is over. */
  readonly application: Uint8Array
  /** The bytes of the offer. */
  readonly size: number
  #connection: C | undefined
  readonly #ports: RunPorts
  readonly #timers: RunTimers<TargetTimer>
  readonly #machine: StateMachine<TargetState, TargetEvent, TargetEffect>

  constructor(context: TargetContext<C>, key: string, channel: Channel, offer: OfferMessage) {
    this.#context = context
    this.key = key
    this.reference = referenceOf(offer)
    this.channel = channel
    this.#offer = offer
    this.application = offer.application
    this.size = offer.snapshot.length + offer.application.length
    this.#ports = new RunPorts(context.redirector, context.onError)
    this.#timers = new RunTimers(context.wheel, (timer) => this.dispatch({ type: 'timeout', timer }))
    this.#machine = new StateMachine(targetStart({ ...this.reference, limits: context.limits }), {
      step: targetStep,
      perform: (effect) => this.#perform(effect),
      idle: () => this.#idle(),
    })
  }

  /** Known as soon as the offer is validated. */
  get flow(): FlowKey | undefined {
    return this.#ports.flow
  }

  get state(): TargetState {
    return this.#machine.state
  }

  /** To be called once, when the run is registered: it may finish within this call. */
  begin(): void {
    this.#machine.begin()
  }

  dispatch(event: TargetEvent): void {
    if (!isLast(this.state)) {
      this.#machine.dispatch(event)
      return
    }
    if (event.type === 'locked' && this.flow) this.#context.orphaned(this.flow)
    if (event.type === 'adopt-failed') this.#ports.report(new Error(event.text), 'adopt')
  }

  #idle(): void {
    if (!isLast(this.state)) return
    this.#wipe()
    this.#connection = undefined
    this.#context.finished(this, this.state)
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
        this.#ports.cancel()
        return
      case 'restore':
        this.#restore()
        return
      case 'unlock':
        this.#unlock()
        return
      case 'acknowledge':
        this.#attempt('acknowledge', (connection) => connection.acknowledge())
        return
      case 'adopt':
        this.#adopt()
        return
      case 'discard':
        this.#attempt('discard', (connection) => connection.discard())
        return
      case 'reset':
        this.#attempt('reset', (connection) => connection.reset())
        return
      case 'revoke':
        this.#ports.attempt('revoke', () =>
          this.#context.application.revoke?.({ host: this.channel.host, ...this.reference }),
        )
        return
      case 'send':
        sendAnswer(this.channel, effect.message, (error) => this.#ports.report(error, 'answer'))
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
    this.#ports.flow = snapshot.flow
    this.#snapshot = snapshot
    this.#makeRoom(snapshot)
  }

  #makeRoom(snapshot: TcpSnapshot): void {
    // When the offer is not wanted any more, what is in the way stays with those who have put it.
    const superseded = this.state.aborted || this.#context.supersede(snapshot.flow)
    if (superseded === true) this.dispatch({ type: 'valid', acknowledge: hasUnacknowledgedBytes(snapshot) })
    else if (superseded !== false) superseded.then(() => this.#makeRoom(snapshot))
    else this.dispatch({ type: 'invalid', reason: 'busy', text: 'this host is still giving the connection away' })
  }

  #lock(): void {
    this.#ports.put(
      { action: 'hold', flow: this.flow as FlowKey, handoff: this.reference },
      () => this.dispatch({ type: 'locked' }),
      (text) => this.dispatch({ type: 'lock-failed', text }),
    )
  }

  #unlock(): void {
    this.#ports.unlock(
      this.flow as FlowKey,
      () => this.dispatch({ type: 'unlocked' }),
      (text) => this.dispatch({ type: 'unlock-failed', text }),
    )
  }

  #restore(): void {
    const started = this.#context.clock.now()
    const snapshot = this.#snapshot as TcpSnapshot
    // The restorer overwrites it. The encoded bytes are not kept while the handoff waits for its commit.
    this.#snapshot = undefined
    this.#offer = undefined
    const restore = (): void => {
      this.#connection = this.#context.restorer.restore(snapshot)
    }
    this.#ports.call(
      restore,
      () => {
        const restoreMicroseconds = wholeMicroseconds(this.#context.clock.now() - started)
        this.dispatch({ type: 'restored', restoreMicroseconds })
      },
      (text) => this.dispatch({ type: 'restore-failed', text }),
    )
  }

  #adopt(): void {
    const started = this.#context.clock.now()
    const arrival = { flow: this.flow as FlowKey, host: this.channel.host, ...this.reference }
    const onSuccess = (): void => {
      const adoptMicroseconds = wholeMicroseconds(this.#context.clock.now() - started)
      this.dispatch({ type: 'adopted', adoptMicroseconds })
    }
    const onFailure = (error: unknown): void => this.dispatch({ type: 'adopt-failed', text: errorText(error) })
    try {
      const adoption = this.#context.application.adopt(this.#connection as C, this.application, arrival)
      // TypeScript lets a function that returns anything pass for one that returns void.
      if (adoption instanceof Promise) adoption.then(onSuccess, onFailure)
      else onSuccess()
    } catch (error) {
      onFailure(error)
    }
  }

  #attempt(step: string, call: (connection: C) => void): void {
    this.#ports.attempt(step, () => call(this.#connection as C))
  }

  /** What was not restored, and what the application was told (invariant 9). */
  #wipe(): void {
    this.#offer?.snapshot.fill(0)
    this.application.fill(0)
    this.#offer = undefined
    this.#snapshot = undefined
  }
}

/** An answer that cannot be sent is no loss: the coordinator says it again, or gives up, and time limits do the rest. */
export function sendAnswer(channel: Channel, message: FromTargetMessage, onError: (error: unknown) => void): void {
  if (!channel.connected) return
  try {
    channel.send(message)
  } catch (error) {
    onError(error)
  }
}
