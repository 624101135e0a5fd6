import { expect, test } from 'bun:test'
import { CodecError, FlowKey } from '@xoffload/core'
import {
  decodeFlow,
  encodeSockaddr,
  flowOf,
  read,
  SOCKADDR_LENGTH,
  unacknowledgedBytes,
  unreadBytes,
  unsentBytes,
  write,
} from '../src/index.ts'
import { closeFd } from '../src/socket/socket.ts'
import {
  accept,
  connectedPair,
  connectSocket,
  eventually,
  freshPort,
  listen,
  ramp,
  readExactly,
  tcpSocket,
  thrownBy,
} from './tcp-support.ts'

const flows = [
  FlowKey.of({ address: '192.0.2.1', port: 40000 }, { address: '198.51.100.1', port: 80 }),
  FlowKey.of({ address: '2001:db8::1', port: 1 }, { address: '2001:db8::2', port: 65535 }),
]

test('a flow survives its way through socket addresses', () => {
  for (const flow of flows) {
    const client = new Uint8Array(SOCKADDR_LENGTH).fill(0xee)
    const service = new Uint8Array(SOCKADDR_LENGTH).fill(0xee)
    expect(encodeSockaddr(flow, 'client', client)).toBe(flow.family === 4 ? 16 : 28)
    encodeSockaddr(flow, 'service', service)
    expect(decodeFlow(client, service).toString()).toBe(flow.toString())
  }
})

test('an address that is none of IP is refused', () => {
  expect(() => decodeFlow(new Uint8Array(SOCKADDR_LENGTH).fill(1), new Uint8Array(SOCKADDR_LENGTH))).toThrow(CodecError)
})

test.each(['127.0.0.1', '::1'])(
  'flowOf sees the client as the peer and the service as the local end on %s',
  (address) => {
    const port = freshPort()
    const { client, service, listener } = connectedPair(address, port)
    const flow = flowOf(service)
    expect(flow.service).toEqual({ address, port })
    expect(flow.client.address).toBe(address)
    // Seen from the other end it is the same connection the other way round.
    expect(flowOf(client).toString()).toBe(FlowKey.of(flow.service, flow.client).toString())
    for (const fd of [client, service, listener]) closeFd(fd)
  },
)

test('an IPv4 client of a dual-stack socket makes an IPv4 flow', () => {
  const port = freshPort()
  const listener = listen({ address: '::', port })
  const client = tcpSocket('127.0.0.1')
  connectSocket(client, '127.0.0.1', port)
  const service = accept(listener)
  expect(flowOf(service).family).toBe(4)
  expect(flowOf(service).service).toEqual({ address: '127.0.0.1', port })
  for (const fd of [client, service, listener]) closeFd(fd)
})

test('flowOf says ENOTCONN for a socket without a peer', () => {
  const fd = tcpSocket('127.0.0.1')
  expect(thrownBy(() => flowOf(fd))).toMatchObject({ errno: 'ENOTCONN', call: 'getpeername' })
  closeFd(fd)
})

test('read and write do not wait, and the byte counts are those of the queues', async () => {
  const { client, service, listener } = connectedPair()
  const buffer = new Uint8Array(100)
  expect(read(service, buffer)).toBeUndefined()
  expect(write(client, ramp(10))).toBe(10)
  await eventually('ten unread bytes', () => unreadBytes(service) === 10)
  expect(await readExactly(service, 10)).toEqual(ramp(10))

  // Nobody reads at the client: the service's buffer gets full, and the rest of it stays unsent.
  const much = new Uint8Array(1 << 20)
  while (write(service, much) > 0);
  await eventually('unsent bytes', () => unsentBytes(service) > 0)
  expect(unacknowledgedBytes(service)).toBeGreaterThanOrEqual(unsentBytes(service))

  const other = connectedPair()
  closeFd(other.client)
  await eventually('the end of the stream', () => read(other.service, buffer) === 0)
  write(other.service, ramp(1))
  // The client answered with RST; a write that raised SIGPIPE would end this process.
  expect(thrownBy(() => void write(other.service, ramp(1)))).toMatchObject({ errno: 'EPIPE' })
  for (const fd of [client, service, listener, other.service, other.listener]) closeFd(fd)
})
