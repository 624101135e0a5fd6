import { readdirSync } from 'node:fs'
import { FlowKey } from '@xoffload/core'
import { check, libc } from '../src/ffi/libc.ts'
import {
  IPPROTO_TCP,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../src/socket/constants.ts'
import { getOptionBytes, setOption } from '../src/socket/options.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../src/socket/sockaddr.ts'
import { closeFd, read, write } from '../src/socket/socket.ts'
import { TCP_INFO } from '../src/tcp/constants.ts'
import { tcpInfo } from '../src/tcp/info.ts'
import { closeSilently } from '../src/tcp/repair.ts'

/** The two ends of an established connection: `client` called connect(2), `service` was accepted from `listener`. */
export interface Pair {
  readonly client: number
  readonly service: number
  readonly listener: number
}

export interface ListenOptions {
  readonly address?: string
  /** 0 lets the kernel choose. */
  readonly port: number
  readonly reuseAddress?: boolean
}

function sockaddrOf(address: string, port: number): { bytes: Uint8Array; length: number; family: number } {
  const bytes = new Uint8Array(SOCKADDR_LENGTH)
  const length = encodeSockaddr(FlowKey.of({ address, port }, { address, port }), 'service', bytes)
  return { bytes, length, family: bytes[0] as number }
}

export function tcpSocket(address: string, flags = 0): number {
  return check('socket', libc.socket(sockaddrOf(address, 1).family, SOCK_STREAM | SOCK_CLOEXEC | flags, IPPROTO_TCP))
}

export function bindSocket(fd: number, address: string, port: number): void {
  const { bytes, length } = sockaddrOf(address, port)
  check('bind', libc.bind(fd, bytes, length))
}

export function listen({ address = '127.0.0.1', port, reuseAddress = true }: ListenOptions): number {
  const fd = tcpSocket(address)
  if (reuseAddress) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setsockopt(SO_REUSEADDR)')
  try {
    bindSocket(fd, address, port)
    check('listen', libc.listen(fd, 128))
  } catch (error) {
    closeFd(fd)
    throw error
  }
  return fd
}

export function connectSocket(fd: number, address: string, port: number): void {
  const { bytes, length } = sockaddrOf(address, port)
  check('connect', libc.connect(fd, bytes, length))
}

export function accept(listener: number): number {
  return check('accept4', libc.accept4(listener, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK))
}

let nextPort = 20_000 + (process.pid % 10_000)

/** A port of its own for every call of this process: restored sockets and TIME_WAIT of earlier tests must not matter. */
export function freshPort(): number {
  nextPort += 1
  return nextPort
}

/** An established connection over loopback. */
export function connectedPair(address = '127.0.0.1', port = freshPort()): Pair {
  const listener = listen({ address, port })
  const client = tcpSocket(address)
  connectSocket(client, address, port)
  return { listener, client, service: accept(listener) }
}

/** Closes listeners, and connections so that no packet and no TIME_WAIT is left. */
export function discard(...fds: number[]): void {
  for (const fd of fds) {
    if (tcpInfo(fd).state === 'LISTEN') closeFd(fd)
    else closeSilently(fd)
  }
}

/** Byte `offset` of a ramp with period 251: the largest 8-bit prime, so that a lost block shows even when it is a power of two. */
export function ramp(length: number, offset = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index + offset) % 251)
}

/** Waits for a condition that the kernel brings about, looking at it every millisecond. Fails after ten seconds. */
export async function eventually<T>(what: string, probe: () => T | undefined | false): Promise<T> {
  const deadline = performance.now() + 10_000
  for (;;) {
    const value = probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadline) throw new Error(`did not happen within ten seconds: ${what}`)
    await Bun.sleep(1)
  }
}

/** Reads exactly `length` bytes. */
export async function readExactly(fd: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let have = 0
  await eventually(`${length} bytes to read`, () => {
    while (have < length) {
      const count = read(fd, bytes.subarray(have))
      if (count === undefined) return false
      if (count === 0) throw new Error(`the stream ended after ${have} of ${length} bytes`)
      have += count
    }
    return true
  })
  return bytes
}

/** Writes until the socket takes no more. Returns the number of bytes. */
export function writeAll(fd: number, bytes: Uint8Array): number {
  let written = 0
  while (written < bytes.length) {
    const count = write(fd, bytes.subarray(written))
    if (count === 0) break
    written += count
  }
  return written
}

/** Where some fields lie in `struct tcp_info` (include/uapi/linux/tcp.h). */
const tcpInfoFields = { totalRetransmissions: 100, dataSegmentsSent: 156, sendWindow: 228 } as const

/** A 32-bit field of TCP_INFO. */
export function tcpInfoField(fd: number, field: keyof typeof tcpInfoFields): number {
  const bytes = new Uint8Array(256)
  getOptionBytes(fd, IPPROTO_TCP, TCP_INFO, bytes, 'getsockopt(TCP_INFO)')
  return new DataView(bytes.buffer).getUint32(tcpInfoFields[field], true)
}

const SO_PROTOCOL = 38
const SO_DOMAIN = 39

/** The number of sockets of a protocol that this process has open. Other descriptors are the runtime's, and come and go. */
export function openSockets(protocol: number = IPPROTO_TCP): number {
  return countSockets(SO_PROTOCOL, protocol)
}

/** The number of sockets of an address family that this process has open. */
export function openSocketsOf(domain: number): number {
  return countSockets(SO_DOMAIN, domain)
}

function countSockets(option: number, wanted: number): number {
  const value = new Int32Array(1)
  const length = new Uint32Array([4])
  const isWanted = (fd: string) =>
    libc.getsockopt(Number(fd), SOL_SOCKET, option, value, length) === 0 && value[0] === wanted
  return readdirSync('/proc/self/fd').filter(isWanted).length
}

/** What `body` throws. */
export function thrownBy(body: () => unknown): unknown {
  try {
    body()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}
