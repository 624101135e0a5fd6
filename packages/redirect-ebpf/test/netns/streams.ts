import type { FlowKey } from '@xoffload/core'
import { writeSysctl } from '@xoffload/linux'
import type { FdSocketOptions, Socket, TCPSocketConnectOptions, TCPSocketListener } from 'bun'
import type { Host } from './network.ts'

const RAMP_PERIOD = 251
const ramp = Uint8Array.from({ length: RAMP_PERIOD * 512 }, (_, index) => index % RAMP_PERIOD)

/** One end of a connection that counts what arrives, and checks that it is the ramp (period 251). */
export class RampSocket {
  received = 0
  wrong = 0
  /** The longest time between two arrivals, in milliseconds. */
  longestGap = 0
  closed = false
  #sent = 0
  #sending = false
  #lastArrival = performance.now()
  #socket: Socket<RampSocket> | undefined

  attach(socket: Socket<RampSocket>): void {
    this.#socket = socket
  }

  /** Starts a stream that fills the socket until {@link stop}. */
  start(): void {
    this.#sending = true
    this.fill()
  }

  /** Stops the stream. Returns the number of bytes that were sent. */
  stop(): number {
    this.#sending = false
    return this.#sent
  }

  fill(): void {
    for (let written = 1; this.#sending && written > 0; this.#sent += written) {
      written = this.#socket?.write(ramp.subarray(this.#sent % RAMP_PERIOD)) ?? 0
    }
  }

  /** Writes `length` bytes of the ramp, which must fit into the socket's buffer. */
  send(length: number): void {
    const start = this.#sent % RAMP_PERIOD
    this.#sent += this.#socket?.write(ramp.subarray(start, start + length)) ?? 0
  }

  arrived(bytes: Uint8Array): void {
    const now = performance.now()
    this.longestGap = Math.max(this.longestGap, now - this.#lastArrival)
    this.#lastArrival = now
    const start = this.received % RAMP_PERIOD
    const expected = ramp.subarray(start, start + bytes.length)
    if (Buffer.compare(bytes, expected) !== 0) this.wrong += 1
    this.received += bytes.length
  }

  /** Forgets the gaps so far. */
  resetGaps(): void {
    this.#lastArrival = performance.now()
    this.longestGap = 0
  }

  /** Closes with RST, or silently when the socket is in repair mode. */
  reset(): void {
    this.#socket?.terminate()
  }

  /** Stops reading. Returns the socket's descriptor. */
  suspend(): number {
    this.#socket?.pause()
    return (this.#socket as unknown as { readonly fd: number }).fd
  }

  /** Closes the socket, which is frozen, and goes on with another one that has the same connection. */
  async moveTo(fd: number): Promise<void> {
    const left = this.#socket
    if (left !== undefined) left.data = new RampSocket()
    left?.terminate()
    const connect: FdSocketOptions<RampSocket> = { fd, data: this, socket: handlers }
    // Bun takes a descriptor here; its types know the options but not this overload.
    await Bun.connect(connect as unknown as TCPSocketConnectOptions<RampSocket>)
  }
}

const handlers = {
  open(socket: Socket<RampSocket>) {
    socket.data.attach(socket)
  },
  data(socket: Socket<RampSocket>, bytes: Buffer) {
    for (let offset = 0; offset < bytes.length; offset += ramp.length / 2) {
      socket.data.arrived(bytes.subarray(offset, offset + ramp.length / 2))
    }
  },
  drain(socket: Socket<RampSocket>) {
    socket.data.fill()
  },
  close(socket: Socket<RampSocket>) {
    socket.data.closed = true
  },
  error() {},
}

/** Listens on a host. `accepted` resolves with the first connection. */
export function listen(host: Host, hostname: string, port: number) {
  const { promise: accepted, resolve } = Promise.withResolvers<RampSocket>()
  const listener: TCPSocketListener<RampSocket> = host.inside(() =>
    Bun.listen<RampSocket>({
      hostname,
      port,
      socket: {
        ...handlers,
        open(socket) {
          socket.data = new RampSocket()
          socket.data.attach(socket)
          resolve(socket.data)
        },
      },
    }),
  )
  return { accepted, stop: () => listener.stop(true) }
}

/** Connects from a host with the local port that makes it this flow. */
export async function connect(host: Host, flow: FlowKey): Promise<RampSocket> {
  const data = new RampSocket()
  const { port } = flow.client
  await host.inside(() => {
    writeSysctl('ipv4/ip_local_port_range', `${port} ${port}`)
    return Bun.connect<RampSocket>({ hostname: flow.service.address, port: flow.service.port, data, socket: handlers })
  })
  return data
}
