import type { TextSource } from './text-stream.ts'

/** Where events come from, and when they are given up. */
export interface EventTextOptions {
  /** Begins to hand over events, until the result is called. */
  readonly subscribe: (send: (name: string, data: string) => void) => () => void
  /** The most that may wait for the reader, in characters. What does not fit is counted, and the reader told so: event `missed`. */
  readonly maximumWaiting: number
  /** Milliseconds between two signs of life when there is nothing else to say. */
  readonly heartbeat: number
  /** Ends the text, after what waits. */
  readonly signal: AbortSignal
}

/** Events as the text of an answer of type `text/event-stream` (WHATWG HTML, section 9.2 "Server-sent events"). */
export function eventText({ subscribe, maximumWaiting, heartbeat, signal }: EventTextOptions): TextSource {
  const waiting = new WaitingEvents(maximumWaiting)
  const unsubscribe = subscribe((name, data) => waiting.add(`event: ${name}\ndata: ${data}\n\n`))
  const timer = setInterval(() => waiting.sign(), heartbeat)
  const stop = () => {
    clearInterval(timer)
    unsubscribe()
    signal.removeEventListener('abort', stop)
    waiting.end()
  }
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop)
  // At once, so that the reader sees that it is connected.
  waiting.sign()
  return { next: () => waiting.take(), stop }
}

/** Text that waits until it is taken: bounded, what does not fit is counted. */
class WaitingEvents {
  readonly #maximum: number
  #texts: string[] = []
  #length = 0
  #missed = 0
  #isEnded = false
  #wake: (() => void) | undefined

  constructor(maximum: number) {
    this.#maximum = maximum
  }

  add(text: string): void {
    // Once something is missing, all that follows is too, until the reader knows: so it sees no event out of order.
    if (this.#missed > 0 || this.#length + text.length > this.#maximum) {
      this.#missed++
      return
    }
    this.#texts.push(text)
    this.#length += text.length
    this.#wake?.()
  }

  /** A comment, which readers ignore; not when there is something to say anyway. */
  sign(): void {
    if (this.#texts.length === 0) this.add(': xoffload\n\n')
  }

  end(): void {
    this.#isEnded = true
    this.#wake?.()
  }

  /** All that waits, as soon as there is something; undefined at the end. */
  async take(): Promise<string | undefined> {
    if (this.#texts.length === 0 && this.#missed === 0 && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    if (this.#missed > 0) {
      this.#texts.push(`event: missed\ndata: ${JSON.stringify({ type: 'missed', count: this.#missed })}\n\n`)
    }
    const text = this.#texts.join('')
    this.#texts = []
    this.#length = 0
    this.#missed = 0
    return text === '' ? undefined : text
  }
}
