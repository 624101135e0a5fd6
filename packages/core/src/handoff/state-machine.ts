/** What one step of a pure state machine gives. */
export interface Step<State, Effect> {
  readonly state: State
  readonly effects: readonly Effect[]
}

/** What runs a state machine. */
export interface Machinery<State, Event, Effect> {
  /** The machine itself: pure. */
  step(state: State, event: Event): Step<State, Effect>
  /** Carries out an effect. May dispatch events, now or later. */
  perform(effect: Effect): void
  /** All that was dispatched is worked off. */
  idle(): void
}

/** A state machine that runs: events that effects cause are worked off one after the other, each when the effects of the one before it are done. */
export class StateMachine<State, Event, Effect> {
  readonly #machinery: Machinery<State, Event, Effect>
  #first: readonly Effect[]
  #state: State
  readonly #events: Event[] = []
  #running = false

  constructor({ state, effects }: Step<State, Effect>, machinery: Machinery<State, Event, Effect>) {
    this.#machinery = machinery
    this.#first = effects
    this.#state = state
  }

  get state(): State {
    return this.#state
  }

  /** Carries out the effects of the first step. To be called once. */
  begin(): void {
    const effects = this.#first
    this.#first = []
    this.#running = true
    for (const effect of effects) this.#machinery.perform(effect)
    this.#drain()
  }

  dispatch(event: Event): void {
    this.#events.push(event)
    if (!this.#running) this.#drain()
  }

  #drain(): void {
    this.#running = true
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
      const { state, effects } = this.#machinery.step(this.#state, event)
      this.#state = state
      for (const effect of effects) this.#machinery.perform(effect)
    }
    this.#running = false
    this.#machinery.idle()
  }
}
