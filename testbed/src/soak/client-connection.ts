import { formatEndpoint } from '@xoffload/core'
import type { Socket } from 'bun'
import { type ConnectionPlan, encodeRequest, expectedResponse } from './plan.ts'
import { ResponseReader } from './response-reader.ts'

/** Without progress for so long a connection counts as dead, in milliseconds. */
const DEAD_AFTER = 10_000
/** How long a connection that was not as it should be is kept, in milliseconds. */
const KEPT_FOR = 2000

/** What a connection tells its program. */
export interface ClientConnectionOwner {
  /** It is over; `violation` when it was not as it should be. */
  finished(connection: ClientConnection, violation?: string): void
}

/** One client connection: carries out its plan, and notices every byte and every end that was not asked for. */
export class ClientConnection {
  readonly #owner: ClientConnectionOwner
  readonly #plan: ConnectionPlan
  readonly #reader = new ResponseReader()
  #socket: Socket<unknown> | undefined
  #local = ''
  #next = 0
  #outgoing: Uint8Array[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #readPaused = false
  /** The client has asked for the end: a FIN that comes then is right. */
  #endAsked = false
  #closedHalf = false
  /** Nothing more is begun. */
  #stopping = false
  #over = false
  #progressAt = performance.now()
  requests = 0
  bytes = 0
  /** The longest time in which nothing moved though something should have, in milliseconds. */
  stall = 0

  constructor(owner: ClientConnectionOwner, plan: ConnectionPlan) {
    this.#owner = owner
    this.#plan = plan
  }

  /** The client's end, as it is in the gateway's log; empty before there is one. */
  get local(): string {
    return this.#local
  }

  opened(socket: Socket<unknown>): void {
    this.#socket = socket
    this.#local = formatEndpoint({ address: socket.localAddress, port: socket.localPort })
    this.#progress()
    this.#think()
  }

  data(chunk: Buffer): void {
    this.#progress()
    this.bytes += chunk.length
    try {
      this.#reader.take(chunk)
    } catch (error) {
      this.#finish(`${error}`)
      return
    }
    if (this.#reader.outstanding > 0) this.#pauseReading()
    else if (this.#outgoing.length === 0 && !this.#over && this.#timer === undefined) this.#answered()
  }

  drain(): void {
    this.#progress()
    this.#write()
  }

  /** The server's FIN. */
  ended(): void {
    if (this.#reader.outstanding > 0) this.#finish('a FIN before the answer was complete')
    else if (!this.#endAsked) this.#finish('a FIN that nobody asked for')
    else this.#finish()
  }

  closed(error?: Error): void {
    // When both sides have sent a FIN, Bun says so in one event.
    if (error === undefined && this.#closedHalf) this.ended()
    else this.#finish(`no FIN, but ${error?.message ?? 'a close'}`)
  }

  /** No more requests: closes when those that are under way are answered. */
  stop(): void {
    this.#stopping = true
    if (this.#timer === undefined || this.#readPaused) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#socket === undefined) return
    this.#end()
  }

  /** Its time is over. */
  abandon(): void {
    this.#finish('not at its end in time')
  }

  /** To be called now and then. */
  watch(): void {
    if (this.#isWaiting && performance.now() - this.#progressAt > DEAD_AFTER)
      this.#finish(`no progress for ${DEAD_AFTER} ms`)
  }

  get #isWaiting(): boolean {
    const due = this.#reader.outstanding > 0 || this.#endAsked || this.#socket === undefined
    return due && !this.#readPaused
  }

  #think(): void {
    const { groups, linger } = this.#plan
    const group = groups[this.#next]
    const next = (): void => (group === undefined || this.#stopping ? this.#end() : this.#send())
    const think = group?.think ?? linger
    if (think === 0 || this.#stopping) {
      next()
      return
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      next()
    }, think)
  }

  #send(): void {
    const { groups, ending } = this.#plan
    const { requests = [] } = groups[this.#next++] ?? {}
    const isLast = this.#next === groups.length
    this.#progressAt = performance.now()
    for (const [index, request] of requests.entries()) {
      const closing = isLast && ending === 'close' && index === requests.length - 1
      this.#outgoing.push(...encodeRequest(request, closing))
      this.#reader.expect(expectedResponse(request))
      this.requests++
      if (closing) this.#endAsked = true
    }
    this.#write()
  }

  #answered(): void {
    if (!this.#endAsked) this.#think()
  }

  #write(): void {
    const socket = this.#socket
    if (socket === undefined || this.#over) return
    while (this.#outgoing.length > 0) {
      const [piece] = this.#outgoing as [Uint8Array]
      const written = Math.max(socket.write(piece), 0)
      if (written < piece.length) {
        this.#outgoing[0] = piece.subarray(written)
        return
      }
      this.#outgoing.shift()
    }
    const isLast = this.#next === this.#plan.groups.length
    if (isLast && this.#plan.ending === 'half-close' && !this.#endAsked) this.#end()
  }

  #end(): void {
    this.#endAsked = true
    this.#closedHalf = true
    this.#progressAt = performance.now()
    this.#socket?.shutdown()
  }

  #pauseReading(): void {
    const { readPause } = this.#plan
    if (readPause === 0 || this.#readPaused || this.#timer !== undefined) return
    this.#readPaused = true
    this.#socket?.pause()
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#readPaused = false
      this.#progressAt = performance.now()
      this.#socket?.resume()
    }, readPause)
  }

  #progress(): void {
    const now = performance.now()
    if (this.#isWaiting) this.stall = Math.max(this.stall, now - this.#progressAt)
    this.#progressAt = now
  }

  #finish(violation?: string): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    const asked = `${this.#next} of ${this.#plan.groups.length} groups sent, ending ${this.#plan.ending}`
    this.#owner.finished(this, violation && `${violation}; ${this.#reader.state}; ${asked}`)
    if (violation === undefined) this.#socket?.end()
    // Who looks for the reason finds the sockets as they are.
    else setTimeout(() => this.#socket?.terminate(), KEPT_FOR)
  }
}
