import type { FlowKey } from '@xoffload/core'
import { closeFd, flowOf, type PeerCredentials } from '@xoffload/linux'
import type { Offer } from './protocol.ts'

/** A client connection that nginx gives away, at the request for which it has selected a server. */
export class NginxArrival {
  readonly flow: FlowKey
  /** The connection, which nginx has open too and does not touch before the answer. Not to be used after {@link close}. */
  readonly fd: number
  /** The worker of nginx. */
  readonly worker: PeerCredentials
  /** The name of the upstream, as in `xoffload_pass`. */
  readonly upstream: string
  /** The server that nginx has selected, as its `server` directive names it, such as `app1:8080`. */
  readonly server: string
  /** The server's address, such as `10.0.0.1:8080`: one of several that the name may have. */
  readonly address: string
  /** Requests on the connection, this one included. */
  readonly requests: number
  /** Whether the request has a body. What came of it is in {@link received}. */
  readonly hasBody: boolean
  /** Whether nginx would keep the connection open after the response. */
  readonly keepAlive: boolean
  /**
   * What was read of the connection and is not served: the head of the request, as nginx has understood it, and all that came behind. It goes
   * back in front of the receive queue.
   */
  readonly received: Uint8Array
  /** Bytes of the head in {@link received}. */
  readonly headLength: number
  #closed = false

  /** Throws a LinuxError (`ENOTCONN` when the client is gone), and then the descriptor stays the caller's. */
  constructor(fd: number, offer: Offer, worker: PeerCredentials) {
    this.flow = flowOf(fd)
    this.fd = fd
    this.worker = worker
    this.upstream = offer.upstream
    this.server = offer.server
    this.address = offer.address
    this.requests = offer.requests
    this.hasBody = offer.hasBody
    this.keepAlive = offer.keepAlive
    this.received = offer.received
    this.headLength = offer.headLength
  }

  get closed(): boolean {
    return this.#closed
  }

  /**
   * Closes this process's descriptor: silent for a frozen connection, and as long as nginx has it. For whoever has handed the connection off,
   * when nothing can come for the frozen socket any more; in all other cases it is done here. Safe to call twice.
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    // Requests may carry credentials.
    this.received.fill(0)
    closeFd(this.fd)
  }
}
