import { constants } from 'node:fs'
import { libc } from '../../linux/src/ffi/libc.ts'
import { RawClient } from './raw-client.ts'

const AF_INET = 2
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const F_SETFL = 4
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33

/**
 * An established, non-blocking TCP descriptor that no event loop knows, and the client at its other end.
 * That the client is the accepting end makes no difference to an established connection.
 */
export async function establishedSocket(): Promise<{ fd: number; client: RawClient }> {
  const client = new RawClient()
  const accepted = Promise.withResolvers<Bun.Socket<undefined>>()
  const listener = Bun.listen<undefined>({
    hostname: '127.0.0.1',
    port: 0,
    allowHalfOpen: true,
    socket: { ...client.handlers, open: (socket) => accepted.resolve(socket) },
  })
  const fd = connectTo(listener.port)
  client.attach(await accepted.promise)
  listener.stop()
  return { fd, client }
}

function connectTo(port: number): number {
  const fd = libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)
  const address = new Uint8Array([AF_INET, 0, port >> 8, port & 0xff, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
  // The kernel completes the handshake with the listener's backlog: this does not wait for the event loop.
  if (
    fd < 0 ||
    libc.connect(fd, address, address.length) !== 0 ||
    libc.fcntl(fd, F_SETFL, constants.O_NONBLOCK) !== 0
  ) {
    throw new Error('a loopback connection could not be made')
  }
  return fd
}

export function closeFd(fd: number): void {
  if (libc.close(fd) !== 0) throw new Error(`descriptor ${fd} was not open`)
}

/** Lets the socket receive about as many bytes before anybody reads. */
export function setReceiveBuffer(fd: number, length: number): void {
  if (libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, new Int32Array([length]), 4) !== 0)
    throw new Error('the receive buffer cannot be set: this needs CAP_NET_ADMIN')
}
