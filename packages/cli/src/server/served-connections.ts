import type {
  Arrival,
  HandoffOrigin,
  KeepMessage,
  MacAddress,
  RecallMessage,
  SteerTarget,
  TakeMessage,
} from '@xoffload/core'
import { handoffKey, MAXIMUM_REQUEST_LENGTH } from '@xoffload/core'
import {
  type AdoptedConnection,
  encodeInterruptedResponse,
  type SuspendedConnection,
} from '@xoffload/proxy-adapters/bun'
import type { RequestHead } from '@xoffload/proxy-adapters/http'
import type { PreloadSuspended } from '@xoffload/proxy-adapters/preload'
import type { ControlChannel } from '../control/index.ts'
import { errorText, type Log } from '../runtime/log.ts'
import { SocketOrigin } from '../runtime/socket-origin.ts'

/** How long a yielded connection waits for the gateway's answer before it goes on, in milliseconds. */
const ANSWER_TIMEOUT = 2000
const NOTHING = new Uint8Array()

/** Whether a request is to be answered here. `requests` counts those that this host has answered on the connection. */
export type BelongsHere = (request: RequestHead, requests: number) => boolean

/** What {@link ServedConnections} work with. */
export interface ServedConnectionsOptions {
  readonly origin: HandoffOrigin
  readonly log: Log
  /** The control channel to a gateway, while it is connected. */
  readonly channelTo: (gateway: string) => ControlChannel | undefined
  /** How this host's redirector reaches the gateway; undefined when the gateway has never said it. */
  readonly wayBack: (channel: ControlChannel) => MacAddress | undefined
  /** After how many requests a connection is yielded, so that the gateway may choose again. */
  readonly requests: number | undefined
  readonly belongsHere: BelongsHere | undefined
  /** The connection lives at another host from now on. */
  readonly given: (cookie: bigint) => void
}

/** A connection that this host's HTTP server has. */
interface Served {
  readonly arrival: Arrival
  readonly cookie: bigint
  connection: AdoptedConnection | undefined
  /** `serving`; `stopping`: to be yielded at its next boundary; `yielded`: stands there; `giving`: being handed off. */
  phase: 'serving' | 'stopping' | 'yielded' | 'giving'
  suspended: SuspendedConnection | undefined
  /** The last stop: it may be told of twice, when the connection was asked for and its next request belongs elsewhere. */
  lastStop: SuspendedConnection | undefined
  answerTimer: ReturnType<typeof setTimeout> | undefined
  /** The number of requests at which it is yielded next. */
  yieldAt: number
}

/** The connections that gateways have handed to this host's HTTP server: brings them to a boundary and gives them when asked. */
export class ServedConnections {
  readonly #options: ServedConnectionsOptions
  readonly #served = new Map<string, Served>()

  constructor(options: ServedConnectionsOptions) {
    this.#options = options
  }

  /** The connection has arrived; `take` gives it to the HTTP server. Returns what `take` returns, and throws what it throws. */
  add<Connection extends AdoptedConnection>(
    arrival: Arrival,
    cookie: bigint,
    take: (options: AdoptionHooks) => Connection,
  ): Connection {
    const key = handoffKey(arrival.host, arrival)
    const served: Served = {
      arrival,
      cookie,
      connection: undefined,
      phase: 'serving',
      suspended: undefined,
      lastStop: undefined,
      answerTimer: undefined,
      yieldAt: this.#options.requests ?? Number.POSITIVE_INFINITY,
    }
    this.#served.set(key, served)
    const { belongsHere, requests } = this.#options
    try {
      const connection = take({
        servesUnasked: () => this.#servesUnasked(served),
        ...((belongsHere !== undefined || requests !== undefined) && {
          route: (connection, head) => this.#route(served, connection, head),
          onSuspended: (suspended) => this.#stands(served, suspended),
        }),
        onClose: () => {
          clearTimeout(served.answerTimer)
          this.#served.delete(key)
        },
      })
      served.connection = connection
      return connection
    } catch (error) {
      this.#served.delete(key)
      throw error
    }
  }

  /** The gateway wants the connection at its next request boundary. */
  recall(gateway: string, message: RecallMessage): void {
    const served = this.#served.get(handoffKey(gateway, message))
    if (served?.connection === undefined || served.phase !== 'serving') return
    served.phase = 'stopping'
    served.connection.suspend({ interrupt: true }).then(
      (suspended) => {
        if (suspended !== undefined) this.#stands(served, suspended)
      },
      (error) => this.#options.log('errors', { event: 'error', step: 'suspend', error: errorText(error) }),
    )
  }

  /** The gateway leaves the connection here. */
  keep(gateway: string, message: KeepMessage): void {
    const served = this.#served.get(handoffKey(gateway, message))
    if (served?.phase === 'yielded') this.#goOn(served)
  }

  /** The gateway takes the connection. */
  take(channel: ControlChannel, message: TakeMessage): void {
    const served = this.#served.get(handoffKey(channel.host, message.connection))
    const gateway = this.#options.wayBack(channel)
    if (served?.suspended === undefined || served.phase !== 'yielded' || gateway === undefined) {
      const { handoff, epoch } = message
      const text = 'the connection does not stand at a request boundary (any more)'
      this.#send(channel, { type: 'refuse', handoff, epoch, reason: 'unknown', text })
      return
    }
    clearTimeout(served.answerTimer)
    served.phase = 'giving'
    this.#give(served, served.suspended, channel, message, { mode: 'l2', mac: gateway }).catch((error) =>
      this.#options.log('errors', { event: 'error', flow: message.flow, step: 'give', error: errorText(error) }),
    )
  }

  /** The gateway has given a connection up that it had handed over: no packet of its client comes here any more. */
  revoke({ host, handoff, epoch }: Omit<Arrival, 'flow'>): void {
    this.#served.get(handoffKey(host, { handoff, epoch }))?.connection?.terminate()
  }

  /** No connection is given any more: those that stand go on. */
  close(): void {
    for (const served of this.#served.values()) if (served.phase === 'yielded') this.#goOn(served)
  }

  #route(served: Served, { requests }: AdoptedConnection, head: RequestHead): 'serve' | 'suspend' {
    const { belongsHere, channelTo } = this.#options
    if (served.phase !== 'serving' || channelTo(served.arrival.host) === undefined) return 'serve'
    const due = requests >= served.yieldAt
    // Whether it stops is another question: a server program that waited too long for this answer serves the request itself.
    return due || belongsHere?.(head, requests) === false ? 'suspend' : 'serve'
  }

  #servesUnasked({ connection, yieldAt }: Served): number {
    if (this.#options.belongsHere !== undefined) return 0
    return Math.max(yieldAt - (connection?.requests ?? 0) - 1, 0)
  }

  #stands(served: Served, suspended: SuspendedConnection): void {
    if (served.lastStop === suspended) return
    served.lastStop = suspended
    const { flow, host, handoff, epoch } = served.arrival
    const channel = this.#options.channelTo(host)
    served.phase = 'yielded'
    served.suspended = suspended
    suspended.onClosed = () => {
      served.suspended = undefined
    }
    served.answerTimer = setTimeout(() => this.#goOn(served), ANSWER_TIMEOUT)
    const request = nextRequest(suspended).subarray(0, MAXIMUM_REQUEST_LENGTH)
    const responding = suspended.response !== undefined
    const sent =
      channel !== undefined && this.#send(channel, { type: 'yield', handoff, epoch, flow, responding, request })
    if (!sent) this.#goOn(served)
  }

  #goOn(served: Served): void {
    clearTimeout(served.answerTimer)
    const { suspended } = served
    served.suspended = undefined
    served.phase = 'serving'
    served.yieldAt = (served.connection?.requests ?? 0) + (this.#options.requests ?? Number.POSITIVE_INFINITY)
    suspended?.resume()
  }

  async #give(
    served: Served,
    suspended: SuspendedConnection,
    channel: ControlChannel,
    message: TakeMessage,
    gateway: SteerTarget,
  ): Promise<void> {
    const connection = new SocketOrigin({
      flow: served.arrival.flow,
      fd: suspended.fd,
      received: () => suspended.received,
      terminate: () => {
        // Whatever the kernel announces of this socket is no end of the connection.
        this.#options.given(served.cookie)
        suspended.close()
      },
    })
    suspended.onClosed = () => connection.closed()
    const application = suspended.response === undefined ? NOTHING : encodeInterruptedResponse(suspended.response)
    const outcome = await this.#options.origin.give({ connection, channel, gateway, application }, message)
    // When it was never offered nobody else has done so.
    application.fill(0)
    if (outcome.result === 'kept' && !suspended.closed) {
      connection.resumed()
      this.#goOn(served)
    }
    if (outcome.result !== 'given') {
      this.#options.log('info', { event: 'not-given', flow: served.arrival.flow, ...outcome })
    }
  }

  #send(channel: ControlChannel, message: Parameters<ControlChannel['send']>[0]): boolean {
    try {
      channel.send(message)
      return true
    } catch (error) {
      this.#options.log('info', { event: 'not-sent', message: message.type, reason: errorText(error) })
      return false
    }
  }
}

/** The beginning of the request that is next: what was read of it, or what a server program has found in the kernel's queue. */
function nextRequest(suspended: SuspendedConnection | PreloadSuspended): Uint8Array {
  return 'next' in suspended ? suspended.next : suspended.received
}

/** What the HTTP server is told with a connection. */
export interface AdoptionHooks {
  /** After `route` has said `serve`: of how many requests after that one it need not be asked. */
  readonly servesUnasked: () => number
  readonly route?: (connection: AdoptedConnection, head: RequestHead) => 'serve' | 'suspend'
  readonly onSuspended?: (suspended: SuspendedConnection) => void
  readonly onClose: () => void
}
