import type { Socket } from 'bun'
import { ResponseReader } from '../response-reader.ts'
import { lengthOf, type Plan } from './plan.ts'

/** Without an answer or an end for so long a connection counts as dead, in milliseconds. */
const DEAD_AFTER = 20_000

/** One client connection: carries out its plan, and notices each byte and each end that is not right. */
export class ClientConnection {
  readonly #plan: Plan
  readonly #onOver: (connection: ClientConnection, violation?: string) => void
  readonly #reader = new ResponseReader()
  #socket: Socket<unknown> | undefined
  #endDue = false
  #over = false
  #progressAt = performance.now()
  requests = 0

  constructor(plan: Plan, onOver: (connection: ClientConnection, violation?: string) => void) {
    this.#plan = plan
    this.#onOver = onOver
  }

  opened(socket: Socket<unknown>): void {
    this.#socket = socket
    this.#next()
  }

  data(chunk: Buffer): void {
    this.#progressAt = performance.now()
    try {
      this.#reader.take(chunk)
    } catch (error) {
      this.#finish(`${error}`)
      return
    }
    if (this.#plan.ending === 'abandoned' && this.#isLast) this.#reset()
    else if (this.#reader.outstanding === 0) this.#next()
  }

  /** The server's FIN, or its RST. */
  closed(error?: Error): void {
    if (error !== undefined) this.#finish(`no FIN, but ${error.message}`)
    else if (this.#reader.outstanding > 0) this.#finish('a FIN before the answer was complete')
    else this.#finish(this.#endDue ? undefined : 'a FIN that nobody asked for')
  }

  /** To be called now and then. */
  watch(): void {
    if (performance.now() - this.#progressAt > DEAD_AFTER) this.#finish(`no progress for ${DEAD_AFTER} ms`)
  }

  get #isLast(): boolean {
    return this.requests === this.#plan.requests.length
  }

  #next(): void {
    const path = this.#plan.requests[this.requests]
    if (path === undefined) {
      this.#end()
      return
    }
    this.requests += 1
    const asks = this.#plan.ending === 'asked' && this.#isLast
    this.#endDue = this.#isLast && (asks || this.#plan.ending === 'idle')
    this.#reader.expect({ start: 0, length: lengthOf(path) })
    this.#progressAt = performance.now()
    this.#socket?.write(`GET ${path} HTTP/1.1\r\nHost: soak\r\n${asks ? 'Connection: close\r\n' : ''}\r\n`)
  }

  #end(): void {
    if (this.#endDue) return
    this.#endDue = true
    if (this.#plan.ending === 'reset') this.#reset()
    else this.#socket?.shutdown()
  }

  #reset(): void {
    this.#over = true
    this.#socket?.terminate()
    this.#onOver(this)
  }

  #finish(violation?: string): void {
    if (this.#over) return
    this.#over = true
    this.#onOver(this, violation && `${violation}; ${this.#reader.state}; ${JSON.stringify(this.#plan)}`)
    if (violation === undefined) this.#socket?.end()
    else this.#socket?.terminate()
  }
}
