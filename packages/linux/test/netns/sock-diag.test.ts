import { afterEach, beforeEach, expect, test } from 'bun:test'
import { constants } from 'node:os'
import {
  closeFd,
  closeSilently,
  type DestroyedFlows,
  destroyConnection,
  flowOf,
  freeze,
  LinuxError,
  restore,
  socketCookie,
  TcpDestroyListener,
  takeSnapshot,
  tcpFlows,
} from '../../src/index.ts'
import { NETLINK_SOCK_DIAG } from '../../src/sock-diag/message.ts'
import { SO_LINGER, SOL_SOCKET } from '../../src/socket/constants.ts'
import { getOption, setOptionBytes } from '../../src/socket/options.ts'
import {
  accept,
  connectedPair,
  connectSocket,
  eventually,
  freshPort,
  listen,
  openSockets,
  tcpSocket,
} from '../tcp-support.ts'
import { TestNamespace } from './tcp-namespace.ts'

const addresses = ['127.0.0.1', '::1'] as const

let host: TestNamespace
let destroyed: TcpDestroyListener
beforeEach(() => {
  host = new TestNamespace()
  destroyed = host.run(() => TcpDestroyListener.open())
})
afterEach(() => {
  destroyed.close()
  host.close()
})

/** The next events: the kernel reports from a work queue, so they are not there at once. */
function nextEvents(): Promise<DestroyedFlows> {
  return eventually('an event', () => {
    const events = destroyed.poll()
    return events.flows.length + events.disconnected > 0 && events
  })
}

const texts = (flows: { toString(): string }[]) => flows.map(String)

test.each(addresses)(
  'a connection that its application closes is reported when it goes to TIME_WAIT (%s)',
  async (address) => {
    const { client, service, listener } = host.run(() => connectedPair(address))
    const flow = flowOf(service)
    closeFd(service)
    closeFd(client)
    const events = await nextEvents()
    expect(texts(events.flows)).toContain(flow.toString())
    // TIME_WAIT is still there, and a dump shows it.
    expect(texts(host.run(tcpFlows))).toContain(flow.toString())
    closeFd(listener)
  },
)

test.each(addresses)(
  'a restored connection is reported like any other; its silent close at the origin has no flow (%s)',
  async (address) => {
    const { client, service, listener } = host.run(() => connectedPair(address))
    const flow = flowOf(service)
    freeze(service)
    const snapshot = takeSnapshot(service)
    const cookie = socketCookie(service)
    closeSilently(service)
    expect(await nextEvents()).toEqual({ flows: [], cookies: [cookie], disconnected: 1, overflow: false })
    expect(texts(host.run(tcpFlows))).not.toContain(flow.toString())

    const { fd } = host.run(() => restore(snapshot))
    expect(texts(host.run(tcpFlows))).toContain(flow.toString())
    // The client ends it this time.
    closeFd(client)
    await eventually('the end', () => host.run(() => tcpFlows().length) > 0)
    closeFd(fd)
    const flows = new Set<string>()
    await eventually('the flow', () => {
      for (const text of texts(destroyed.poll().flows)) flows.add(text)
      return flows.has(flow.toString())
    })
    closeFd(listener)
  },
)

test('a reset by SO_LINGER is reported without its flow', async () => {
  const { client, service, listener } = host.run(() => connectedPair())
  const flow = flowOf(service)
  setOptionBytes(service, SOL_SOCKET, SO_LINGER, new Uint32Array([1, 0]), 'setsockopt(SO_LINGER)')
  const cookie = socketCookie(service)
  closeFd(service)
  expect(await nextEvents()).toEqual({ flows: [], cookies: [cookie], disconnected: 1, overflow: false })
  expect(texts(host.run(tcpFlows))).not.toContain(flow.toString())
  closeFd(client)
  closeFd(listener)
})

test('an IPv4 client of a dual-stack service is reported as an IPv4 flow', async () => {
  const port = freshPort()
  const [client, service, listener] = host.run(() => {
    const listening = listen({ address: '::', port })
    const connected = tcpSocket('127.0.0.1')
    connectSocket(connected, '127.0.0.1', port)
    return [connected, accept(listening), listening] as const
  })
  const flow = flowOf(service)
  expect(flow.family).toBe(4)
  expect(texts(host.run(tcpFlows)).filter((text) => text === flow.toString())).toEqual([flow.toString()])
  closeFd(client)
  await eventually('CLOSE_WAIT', () => host.run(() => tcpFlows().length === 2))
  closeFd(service)
  const flows = new Set<string>()
  await eventually('the flow', () => {
    for (const text of texts(destroyed.poll().flows)) flows.add(text)
    return flows.has(flow.toString())
  })
  closeFd(listener)
})

test('a listener is no flow', () => {
  const listener = host.run(() => listen({ port: freshPort() }))
  expect(host.run(tcpFlows)).toEqual([])
  closeFd(listener)
})

test('lost events are told, and the dump says what lives', async () => {
  const small = host.run(() => TcpDestroyListener.open({ receiveBuffer: 4096 }))
  const address = '127.0.0.1'
  const port = freshPort()
  const listener = host.run(() => listen({ address, port }))
  const pairs = host.run(() =>
    Array.from({ length: 100 }, () => {
      const client = tcpSocket(address)
      connectSocket(client, address, port)
      return { client, service: accept(listener) }
    }),
  )
  const [kept, ...ended] = pairs
  if (kept === undefined) throw new Error('no pair')
  for (const { client, service } of ended) {
    closeSilently(service)
    closeSilently(client)
  }
  let count = 0
  await eventually('all events at the listener with room', () => {
    count += destroyed.poll().disconnected
    return count === 2 * ended.length
  })
  expect(small.poll().overflow).toBe(true)
  expect(small.poll()).toEqual({ flows: [], cookies: [], disconnected: 0, overflow: false })
  expect(texts(host.run(tcpFlows)).sort()).toEqual([flowOf(kept.service), flowOf(kept.client)].map(String).sort())
  small.close()
  for (const fd of [kept.client, kept.service, listener]) closeFd(fd)
})

test('nothing is left open', () => {
  const before = openSockets(NETLINK_SOCK_DIAG)
  const listener = host.run(() => TcpDestroyListener.open())
  expect(openSockets(NETLINK_SOCK_DIAG)).toBe(before + 1)
  listener.close()
  host.run(tcpFlows)
  expect(openSockets(NETLINK_SOCK_DIAG)).toBe(before)
})

const SO_ERROR = 4
const socketError = (fd: number) => getOption(fd, SOL_SOCKET, SO_ERROR, 'getsockopt(SO_ERROR)')

test.each(addresses)('a frozen connection is destroyed at once, and its client hears so (%s)', (address) => {
  const { client, service, listener } = host.run(() => connectedPair(address))
  freeze(service)
  host.run(() => destroyConnection(service))
  expect(socketError(service)).toBe(constants.errno.ECONNABORTED)
  expect(socketError(client)).toBe(constants.errno.ECONNRESET)
  expect(() => host.run(() => destroyConnection(service))).toThrow(LinuxError)
  for (const fd of [service, client, listener]) closeFd(fd)
})
