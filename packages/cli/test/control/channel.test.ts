import { afterEach, expect, test } from 'bun:test'
import type { OfferMessage } from '@xoffload/core'
import { ControlError } from '../../src/control/index.ts'
import { abort, channelOf, connect, copyOf, Events, hello, listen, offer, openSockets, refuse } from './support.ts'

const cleanup: (() => void)[] = []
afterEach(() => {
  for (const close of cleanup.splice(0).reverse()) close()
})

/** A listener and a connector with their channel up. */
async function pair(
  listenerOptions: Parameters<typeof listen>[1] = {},
  connectorOptions: Parameters<typeof connect>[2] = {},
) {
  const [server, gateway] = [new Events(), new Events()]
  const listener = listen(server, listenerOptions)
  cleanup.push(() => listener.close())
  const connector = connect(gateway, listener.port, connectorOptions)
  cleanup.push(() => connector.close())
  await Promise.all([server.ups.atLeast(1), gateway.ups.atLeast(1)])
  return {
    server,
    gateway,
    listener,
    connector,
    toServer: channelOf(connector, 's1'),
    toGateway: channelOf(listener, 'gateway'),
  }
}

function thrown(action: () => void): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

test('both sides say hello, then messages go both ways', async () => {
  const { server, gateway, toServer, toGateway } = await pair()
  expect(await gateway.ups.at(0)).toEqual(hello('s1'))
  expect(await server.ups.at(0)).toEqual(hello('gateway'))
  expect([toServer.host, toServer.connected, toServer.hello, toGateway.host, toGateway.connected]).toEqual([
    's1',
    true,
    hello('s1'),
    'gateway',
    true,
  ])
  toServer.send(abort(1))
  expect(await server.messages.at(0)).toEqual(abort(1))
  toGateway.send(refuse(2, 'no'))
  expect(await gateway.messages.at(0)).toEqual(refuse(2, 'no'))
})

test('an offer of 30 MiB arrives whole, with small messages before and after it', async () => {
  const { server, toServer } = await pair()
  const large = offer(2, 30 * 1024 * 1024)
  toServer.send(abort(1))
  toServer.send(copyOf(large))
  toServer.send(abort(3))
  expect(toServer.pending).toBeGreaterThan(0)
  const [first, second, third] = await server.messages.atLeast(3)
  expect([first, third]).toEqual([abort(1), abort(3)])
  expect(Buffer.compare((second as OfferMessage).snapshot, large.snapshot)).toBe(0)
  expect(toServer.pending).toBe(0)
}, 20_000)

test('many messages of many lengths, both ways at once, arrive in order', async () => {
  const { server, gateway, toServer, toGateway } = await pair()
  const messages = Array.from({ length: 3000 }, (_, index) =>
    index % 97 === 0 ? offer(index, (index * 7919) % 300_000) : refuse(index, 'x'.repeat((index * 31) % 1000)),
  )
  for (const [index, message] of messages.entries()) {
    toServer.send(copyOf(message))
    toGateway.send(copyOf(message))
    // Some in one turn, some in turns of their own: other cuts of the stream.
    if (index % 50 === 0) await new Promise(setImmediate)
  }
  for (const side of [server, gateway]) expect(Bun.deepEquals(await side.messages.atLeast(3000), messages)).toBe(true)
}, 20_000)

test('a message longer than the limit is refused where it is sent, and the channel lives on', async () => {
  const { server, toServer } = await pair({}, { limits: { message: 1000 } })
  const error = thrown(() => toServer.send(offer(1, 1000)))
  expect(error).toBeInstanceOf(ControlError)
  expect((error as ControlError).reason).toBe('oversize')
  toServer.send(abort(2))
  expect(await server.messages.at(0)).toEqual(abort(2))
})

test('a message longer than the receiver allows ends the connection', async () => {
  const { server, toServer } = await pair({ limits: { message: 1000 } })
  toServer.send(offer(1, 1000))
  const reason = await server.downs.at(0)
  expect([reason.reason, reason.message]).toEqual(['protocol', expect.stringContaining('at most 1000 are allowed')])
  expect(server.messages.items).toEqual([])
})

test('the outgoing buffer is bounded; small messages have a reserve; nothing is lost', async () => {
  const { server, toServer } = await pair({}, { limits: { message: 2 ** 20, outgoing: 4 * 2 ** 20 } })
  const large = offer(1, 900_000)
  let sent = 0
  let error: unknown
  while (error === undefined && sent < 1000) {
    try {
      toServer.send(copyOf(large))
      sent++
    } catch (thrown) {
      error = thrown
    }
  }
  expect((error as ControlError).reason).toBe('full')
  expect(toServer.pending).toBeLessThanOrEqual(4 * 2 ** 20)
  toServer.send(abort(2))
  expect(toServer.connected).toBe(true)
  const arrived = await server.messages.atLeast(sent + 1)
  expect(arrived.slice(0, -1).every((message) => Bun.deepEquals(message, large))).toBe(true)
  expect(arrived.at(-1)).toEqual(abort(2))
}, 20_000)

test('a handler that throws ends the connection and is told why', async () => {
  const server = new Events()
  const listener = listen(server, {
    onMessage: () => {
      throw new Error('boom')
    },
  })
  cleanup.push(() => listener.close())
  const gateway = new Events()
  const connector = connect(gateway, listener.port)
  cleanup.push(() => connector.close())
  await gateway.ups.atLeast(1)
  channelOf(connector, 's1').send(abort(1))
  const reason = await server.downs.at(0)
  expect([reason.reason, reason.cause]).toEqual(['handler', new Error('boom')])
  expect((await gateway.downs.at(0)).reason).toBe('lost')
})

test('a closed channel takes no message', async () => {
  const { gateway, connector, toServer } = await pair()
  connector.close()
  expect((await gateway.downs.at(0)).reason).toBe('closed')
  expect([toServer.connected, toServer.pending]).toEqual([false, 0])
  expect((thrown(() => toServer.send(abort(1))) as ControlError).reason).toBe('closed')
  // The last hello is still known.
  expect(toServer.hello).toEqual(hello('s1'))
})

test('what was sent before closing in the same turn still arrives', async () => {
  const { server, connector, toServer } = await pair()
  toServer.send(abort(1))
  connector.close()
  expect(await server.messages.at(0)).toEqual(abort(1))
  expect((await server.downs.at(0)).reason).toBe('lost')
})

test('a second connection of the same peer replaces the first', async () => {
  const { server, gateway, listener, toGateway } = await pair()
  const second = new Events()
  const connector = connect(second, listener.port, { hello: hello('gateway', 2n) })
  cleanup.push(() => connector.close())
  await second.ups.atLeast(1)
  expect((await server.downs.at(0)).reason).toBe('replaced')
  expect((await server.ups.at(1)).instance).toBe(2n)
  expect((await gateway.downs.at(0)).reason).toBe('lost')
  toGateway.send(abort(7))
  expect(await second.messages.at(0)).toEqual(abort(7))
  expect(gateway.messages.items).toEqual([])
})

test('opening and closing many channels leaks no socket', async () => {
  const server = new Events()
  const listener = listen(server)
  cleanup.push(() => listener.close())
  const before = openSockets()
  for (let round = 1; round <= 50; round++) {
    const gateway = new Events()
    const connector = connect(gateway, listener.port)
    await gateway.ups.atLeast(1)
    connector.close()
    await server.downs.atLeast(round)
  }
  // The last sockets are closed when both sides have said so.
  const deadline = performance.now() + 3000
  while (openSockets() > before && performance.now() < deadline) await new Promise(setImmediate)
  expect(openSockets()).toBeLessThanOrEqual(before)
}, 20_000)
