// Bytes of a connection that is served elsewhere are overwritten here as soon as nobody uses them any more.
import { expect, test } from 'bun:test'
import { unreadBytes } from '@xoffload/linux'
import { DEFAULT_HEAD_LIMITS } from '@xoffload/proxy-adapters/http'
import { Input } from '../src/bun/input.ts'
import { establishedSocket } from './established-socket.ts'
import { get } from './server.ts'
import { adoptOne, closeAfterTest, eventually, makeServer, suspended, text } from './suspend-support.ts'

const isWiped = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)
const HALF = 'GET /half HTTP/1.1\r\nAuthorization: Bearer secret'

async function standing() {
  const { client, connection, fd } = await adoptOne({ fetch: () => new Response() })
  await client.send(HALF)
  await eventually(() => unreadBytes(fd) === 0)
  const stopped = await suspended(connection)
  const { received } = stopped
  expect(text(stopped)).toBe(HALF)
  return { client, stopped, received }
}

test('what was read of a connection that another server has', async () => {
  const { stopped, received } = await standing()
  stopped.close()
  expect([received.length, isWiped(received), stopped.received.length]).toEqual([HALF.length, true, 0])
})

test('what was read of a connection that the client has reset', async () => {
  const { client, stopped, received } = await standing()
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  stopped.onClosed = resolve
  client.close()
  await closed
  expect(isWiped(received)).toBe(true)
})

test('but not what is served here after all', async () => {
  const { client, stopped, received } = await standing()
  await client.send('\r\nHost: test\r\n\r\n')
  expect(isWiped(received)).toBe(false)
  stopped.resume()
  expect((await client.response()).status).toBe(200)
})

test('the parts of a head that comes in parts', () => {
  const input = new Input(DEFAULT_HEAD_LIMITS)
  const parts = [get('/1').slice(0, 10), get('/1').slice(10)].map((part) => Buffer.from(part))
  expect(parts.map((part) => input.push(part))).toEqual([true, true])
  expect([...parts.map(isWiped), input.head()?.kind]).toEqual([true, true, 'head'])
})

test('what its former owner had left to send, when it is out', async () => {
  const { fd, client } = await establishedSocket()
  closeAfterTest(client)
  const [short, long] = [Buffer.from('rest of a response'), Buffer.alloc(16_000_000, 7)]
  const server = makeServer({ fetch: () => new Response() })
  server.adopt(fd, { unsent: short })
  expect((await client.take(short.length)).toString()).toBe('rest of a response')
  expect(isWiped(short)).toBe(true)
  const other = await establishedSocket()
  closeAfterTest(other.client)
  server.adopt(other.fd, { unsent: long })
  expect(isWiped(long)).toBe(false)
  expect((await other.client.take(long.length)).equals(Buffer.alloc(long.length, 7))).toBe(true)
  await eventually(() => isWiped(long))
})

test('what its former owner had left to send, when the client does not take it', async () => {
  const { fd, client } = await establishedSocket()
  closeAfterTest(client)
  const unsent = Buffer.alloc(16_000_000, 7)
  const server = makeServer({ fetch: () => new Response() })
  server.adopt(fd, { unsent })
  client.close()
  await eventually(() => server.connections === 0)
  expect(isWiped(unsent)).toBe(true)
})
