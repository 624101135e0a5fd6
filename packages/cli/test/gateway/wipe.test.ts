// What clients say is overwritten in the gateway's memory as soon as it is not needed there (invariant 9).
import { afterAll, beforeEach, expect, test } from 'bun:test'
import type { Socket } from 'bun'
import { ClientConnection, type ConnectionOwner } from '../../src/gateway/client-connection.ts'
import { Server } from '../../src/gateway/server.ts'

const SECRET = 'x'.repeat(200)
const HEAD = `POST /${SECRET} HTTP/1.1\r\nHost: x\r\n\r\n`
const isWiped = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)

/** A socket that takes as much as it is told to. */
class FakeSocket {
  readonly written: string[] = []
  room = Number.POSITIVE_INFINITY
  write(bytes: Uint8Array | string): number {
    const all = Buffer.from(bytes as string)
    const taken = all.subarray(0, Math.min(all.length, this.room))
    this.room -= taken.length
    if (taken.length > 0) this.written.push(taken.toString())
    return taken.length
  }
  setNoDelay(): void {}
  pause(): void {}
  resume(): void {}
  shutdown(): void {}
  end(): void {}
  terminate(): void {}
}

let socket: FakeSocket
let requests: number
beforeEach(() => {
  socket = new FakeSocket()
  requests = 0
})

function connection(unsent?: Uint8Array): ClientConnection {
  const owner: ConnectionOwner = {
    headBytes: 4096,
    requested: () => void requests++,
    unreadable: () => {},
    closed: () => {},
  }
  return new ClientConnection(owner, socket as unknown as Socket<ClientConnection>, 1000, unsent)
}

/** Gives a text in parts, as Bun does: each in memory of its own. */
function give(client: ClientConnection, ...texts: readonly string[]): Buffer[] {
  const chunks = texts.map((text) => Buffer.from(text))
  for (const chunk of chunks) client.data(chunk)
  return chunks
}

test('a head that comes in parts leaves no copy when it has moved', () => {
  const client = connection()
  const early = give(client, HEAD.slice(0, 50), HEAD.slice(50, 100))
  expect(early.map(isWiped)).toEqual([true, true])
  const last = give(client, HEAD.slice(100), SECRET)
  expect([requests, ...last.map(isWiped)]).toEqual([1, true, true])
})

test.each([
  ['has moved', (client: ClientConnection) => client.handedOff()],
  ['is closed', (client: ClientConnection) => client.close()],
  ['is refused', (client: ClientConnection) => client.refuse(503, 'no')],
] as const)('what was read is overwritten when the connection %s', (_name, end) => {
  const client = connection()
  const [chunk] = give(client, HEAD) as [Buffer]
  expect([requests, isWiped(chunk)]).toEqual([1, false])
  end(client)
  expect(isWiped(chunk)).toBe(true)
})

test('what was still to be sent is overwritten as it is sent, and when the client is gone', () => {
  socket.room = 150
  const unsent = Buffer.from(SECRET)
  const client = connection(unsent)
  expect([isWiped(unsent.subarray(0, 150)), unsent.toString('latin1', 150)]).toEqual([true, SECRET.slice(150)])
  socket.room = 20
  client.drain()
  expect(socket.written.join('')).toBe(SECRET.slice(0, 170))
  client.close()
  expect(isWiped(unsent)).toBe(true)
})

const arrived: Buffer[] = []
const { promise: upstream, resolve } = Promise.withResolvers<Socket<undefined>>()
const listener = Bun.listen<undefined>({
  hostname: '127.0.0.1',
  port: 0,
  socket: { open: (accepted) => resolve(accepted), data: (_, chunk) => void arrived.push(chunk) },
})
afterAll(() => listener.stop(true))

/** Resolves when the condition holds, within 10 s. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('it has not come to that within 10 s')
    await Bun.sleep(1)
  }
}

test('what is relayed, both ways, is overwritten when it is out', async () => {
  const client = connection()
  const [chunk] = give(client, HEAD) as [Buffer]
  client.relay(new Server('s1', { address: '127.0.0.1', port: listener.port }), () => undefined)
  await until(() => Buffer.concat(arrived).length === HEAD.length)
  expect([isWiped(chunk), Buffer.concat(arrived).toString()]).toEqual([true, HEAD])
  const [further] = give(client, SECRET) as [Buffer]
  await until(() => Buffer.concat(arrived).length === HEAD.length + SECRET.length)
  expect(isWiped(further)).toBe(true)
  socket.room = 10
  ;(await upstream).write(SECRET)
  await until(() => socket.written.length > 0)
  socket.room = 1000
  client.drain()
  expect(socket.written.join('')).toBe(SECRET)
  client.close()
})

test('what waits for a server that cannot be reached is overwritten with the answer', async () => {
  const client = connection()
  const [chunk] = give(client, HEAD) as [Buffer]
  // Nobody listens on the port for TCPMUX (RFC 1078).
  client.relay(new Server('s1', { address: '127.0.0.1', port: 1 }), () => undefined)
  await until(() => socket.written.length > 0)
  expect([socket.written.join('').slice(0, 12), isWiped(chunk)]).toEqual(['HTTP/1.1 502', true])
})
