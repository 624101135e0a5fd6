// What clients see of the gateway when they are silent, and what the gateway makes of clients that go away.
import { afterEach, expect, test } from 'bun:test'
import { HandoffCoordinator, MacAddress, type Redirector } from '@xoffload/core'
import type { Socket } from 'bun'
import { Clients, type ClientsOptions } from '../../src/gateway/clients.ts'
import { FlowTable } from '../../src/gateway/flow-table.ts'
import { Handoffs } from '../../src/gateway/handoffs.ts'
import { Journal } from '../../src/gateway/journal.ts'
import type { Moves } from '../../src/gateway/moves.ts'
import { Requests } from '../../src/gateway/requests.ts'
import { Selection } from '../../src/gateway/selection.ts'
import { Server } from '../../src/gateway/server.ts'
import { systemClock } from '../../src/runtime/clock.ts'

const cleanup: (() => void)[] = []
afterEach(() => {
  for (const close of cleanup.splice(0).reverse()) close()
})

const log = (): void => {}
/** Milliseconds: longer than a busy machine keeps bytes from being read. */
const HEAD_TIMEOUT = 1000

/** A port of the loopback address that nobody has. */
function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}

const refuse: ClientsOptions['unreadable'] = (connection, { status, reason }) => connection.refuse(status, reason)

/** A listener of a gateway. */
function listen(requested: ClientsOptions['requested'], headTimeout: number, unreadable = refuse) {
  const limits = { headBytes: 4096, headTimeout, connections: 10 }
  const clients = new Clients({ log, limits, requested, unreadable, accepted: () => {} })
  cleanup.push(() => clients.close())
  const port = freePort()
  clients.listen({ address: '127.0.0.1', port })
  return { clients, port }
}

/** A client; `ended` says how the gateway ends the connection. */
async function connect(port: number) {
  const received: string[] = []
  const { promise: ended, resolve } = Promise.withResolvers<'FIN' | 'RST'>()
  const socket: Socket<undefined> = await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      data: (_, chunk) => void received.push(chunk.toString()),
      end: () => resolve('FIN'),
      close: (_, error) => resolve(error === undefined ? 'FIN' : 'RST'),
      error: () => resolve('RST'),
    },
  })
  cleanup.push(() => socket.terminate())
  return { socket, ended, received }
}

test('a client that says nothing gets a FIN, and one that says half of a head an answer before it', async () => {
  const { clients, port } = listen(() => {}, HEAD_TIMEOUT)
  const [silent, slow] = [await connect(port), await connect(port)]
  slow.socket.write('GET / HTTP/1.1\r\nHo')
  expect([await silent.ended, await slow.ended]).toEqual(['FIN', 'FIN'])
  expect([silent.received, slow.received.join('').slice(0, 12)]).toEqual([[], 'HTTP/1.1 408'])
  await clients.emptied()
})

test('a client that resets while its flow is being locked: the handoff is given up at once', async () => {
  const server = new Server('s1', undefined)
  const channel = { host: 's1', connected: true, send: () => {} }
  const mac = MacAddress.parse('02:00:00:00:00:01')
  const hello = { type: 'hello', protocolVersion: 2, host: 's1', mac, instance: 1n, maximumHandoffs: 8 } as const
  server.connected(channel as never, hello)
  const locking = Promise.withResolvers<AbortSignal>()
  const redirector = {
    put: (_rule, options) => {
      const signal = options?.signal as AbortSignal
      locking.resolve(signal)
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    },
    remove: async () => true,
  } as Pick<Redirector, 'put' | 'remove'>
  const limits = { lock: 60_000 }
  const onError = (error: unknown): never => {
    throw error
  }
  const coordinator = new HandoffCoordinator({ redirector, clock: systemClock, epoch: 1, onError, limits })
  const journal = new Journal(log)
  const handedOff = Promise.withResolvers<void>()
  journal.watch(() => handedOff.resolve())
  const handoffs = new Handoffs({
    name: 'gateway',
    coordinator,
    flows: new FlowTable(),
    moves: {} as Moves,
    journal,
  })
  const requests = new Requests({
    selection: new Selection((_, candidates) => candidates[0], [server]),
    coordinator,
    handoffs,
    journal,
    log,
    broken: (_, error) => onError(error),
  })
  const { clients, port } = listen((connection, head) => requests.requested(connection, head), 60_000)
  const { socket } = await connect(port)
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const signal = await locking.promise
  socket.terminate()
  await handedOff.promise
  const [handoff] = journal.handoffs
  expect([signal.aborted, handoff?.outcome.result, handoff?.outcome.failure?.reason]).toEqual([
    true,
    'rolled-back',
    'client-gone',
  ])
  expect([journal.relayed, clients.size]).toEqual([0, 0])
})

test.each([
  ['a request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['what cannot be read', 'what is this\r\n\r\n'],
])('%s goes to another server when the first one cannot be reached, and to nobody is 502', async (_, sent) => {
  const echo = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: { data: (socket, chunk) => void socket.end(chunk) },
  })
  cleanup.push(() => echo.stop(true))
  const dead = new Server('dead', { address: '127.0.0.1', port: freePort() })
  const live = new Server('live', { address: '127.0.0.1', port: echo.port })
  live.connections = 1
  const answers: string[] = []
  for (const servers of [[dead, live], [dead]]) {
    const requests = new Requests({
      selection: new Selection((_request, candidates) => candidates.find(({ up }) => up), servers),
      coordinator: {} as HandoffCoordinator,
      handoffs: {} as Handoffs,
      journal: new Journal(log),
      log,
      broken: () => {},
    })
    requests.resume({ relayOnly: true })
    const { port } = listen(
      (...given) => requests.requested(...given),
      60_000,
      (...given) => requests.unreadable(...given),
    )
    const client = await connect(port)
    client.socket.write(sent)
    await client.ended
    answers.push(client.received.join('').slice(0, sent.length))
  }
  expect(answers[0]).toBe(sent)
  expect(answers[1]).toStartWith('HTTP/1.1 502 ')
  expect([dead.connections, live.connections]).toEqual([0, 1])
})

test('half a head goes to a server when its time is over, and the client sees how that deals with it', async () => {
  const received = Promise.withResolvers<string>()
  // As nginx does (client_header_timeout): it closes without a word.
  const silent = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      data: (socket, chunk) => {
        received.resolve(chunk.toString())
        socket.end()
      },
    },
  })
  cleanup.push(() => silent.stop(true))
  const server = new Server('nginx', { address: '127.0.0.1', port: silent.port })
  const requests = new Requests({
    selection: new Selection((_request, candidates) => candidates.find(({ up }) => up), [server]),
    coordinator: {} as HandoffCoordinator,
    handoffs: {} as Handoffs,
    journal: new Journal(log),
    log,
    broken: () => {},
  })
  const { clients, port } = listen(
    () => {},
    HEAD_TIMEOUT,
    (...given) => requests.unreadable(...given),
  )
  const client = await connect(port)
  const half = 'GET / HTTP/1.1\r\nHo'
  client.socket.write(half)
  expect(await received.promise).toBe(half)
  expect(await client.ended).toBe('FIN')
  expect(client.received).toEqual([])
  client.socket.end()
  await clients.emptied()
})
