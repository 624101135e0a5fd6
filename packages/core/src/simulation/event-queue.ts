/** Something that happens at a virtual time. */
export interface ScheduledEvent {
  readonly time: number
  readonly order: number
  /** Undefined when it was cancelled. */
  run: (() => void) | undefined
}

/** Virtual time, in microseconds, and what is to happen in it: in the order of time, and of scheduling among equals. A binary heap. */
export class EventQueue {
  /** The time of the event that happens now. */
  now = 1_000_000
  #order = 0
  readonly #heap: ScheduledEvent[] = []

  /** Schedules the event `delay` microseconds from now. */
  after(delay: number, run: () => void): ScheduledEvent {
    const event: ScheduledEvent = { time: this.now + Math.max(delay, 0), order: this.#order++, run }
    const heap = this.#heap
    let index = heap.length
    heap.push(event)
    while (index > 0) {
      const parent = (index - 1) >> 1
      const other = heap[parent] as ScheduledEvent
      if (isBefore(other, event)) break
      heap[index] = other
      index = parent
    }
    heap[index] = event
    return event
  }

  /** Runs the next event. False when there is none. */
  step(): boolean {
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      if (event.run === undefined) continue
      this.now = event.time
      const { run } = event
      event.run = undefined
      run()
      return true
    }
    return false
  }

  #pop(): ScheduledEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right !== undefined && isBefore(right, heap[child] as ScheduledEvent)) child += 1
      const smaller = heap[child] as ScheduledEvent
      if (isBefore(last, smaller)) break
      heap[index] = smaller
      index = child
    }
    heap[index] = last
    return first
  }
}

function isBefore(one: ScheduledEvent, other: ScheduledEvent): boolean {
  return one.time < other.time || (one.time === other.time && one.order < other.order)
}
