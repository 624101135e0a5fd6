import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { createApi } from '../../src/api/create-api.ts'
import { listText } from '../../src/api/list-text.ts'
import { textStream } from '../../src/api/text-stream.ts'
import { FakeGateway } from './fake-gateway.ts'
import { onSocket, rawGet, temporaryFolder, until } from './support.ts'

const folder = temporaryFolder()
const many = 200_000

test('200,000 flows are read as lines while the memory stays what it was', async () => {
  const gateway = new FakeGateway({ flows: many })
  const socket = join(folder, 'many.sock')
  await using _ = await onSocket(gateway, socket)
  const read = async () => {
    const response = await fetch('http://gateway/v1/flows', {
      unix: socket,
      headers: { accept: 'application/x-ndjson' },
    })
    let lines = 0
    let bytes = 0
    let most = 0
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++
      bytes += chunk.length
      most = Math.max(most, process.memoryUsage.rss())
    }
    return { lines, bytes, most }
  }
  await read()
  Bun.gc(true)
  const before = process.memoryUsage.rss()
  const { lines, bytes, most } = await read()
  expect(lines).toBe(many)
  expect(bytes).toBeGreaterThan(19_000_000)
  // The text alone has 19 MB, and as many objects much more.
  expect(most - before).toBeLessThan(40_000_000)
}, 30_000)

test('a list is one JSON text, however long', async () => {
  const gateway = new FakeGateway({ flows: many })
  const socket = join(folder, 'json.sock')
  await using _ = await onSocket(gateway, socket)
  const response = await fetch('http://gateway/v1/flows?state=ended', { unix: socket })
  const { flows, next } = (await response.json()) as { flows: { flow: string }[]; next: number | null }
  expect(flows.length).toBe(Math.floor(many / 3))
  expect(new Set(flows.map(({ flow }) => flow)).size).toBe(flows.length)
  expect(next).toBeNull()
}, 30_000)

test('the event loop turns while a list is made', async () => {
  const gateway = new FakeGateway({ flows: many })
  const turns: number[] = []
  const timer = setInterval(() => turns.push(gateway.taken), 1)
  const response = await createApi(gateway).handle(new Request('http://gateway/v1/flows?server=nobody'))
  expect(await response.json()).toEqual({ flows: [], next: null })
  clearInterval(timer)
  expect(turns.length).toBeGreaterThan(10)
})

test('a reader that stops reading stops the making; when it goes away, the list is let go', async () => {
  const gateway = new FakeGateway({ flows: many })
  const socket = join(folder, 'slow.sock')
  await using _ = await onSocket(gateway, socket)
  for (const path of ['/v1/flows', '/v1/rules']) {
    gateway.taken = 0
    const connection = rawGet(socket, path)
    connection.pause()
    await until(() => gateway.taken > 0)
    let seen = -1
    // Until nothing more was made for a while.
    await until(() => {
      const isStill = seen === gateway.taken
      seen = gateway.taken
      Bun.sleepSync(20)
      return isStill
    })
    expect(gateway.taken).toBeLessThan(many / 4)
    expect(gateway.reading).toBe(1)
    connection.destroy()
    await until(() => gateway.reading === 0)
  }
})

test('a reader that does not read for long is cut off', async () => {
  const gateway = new FakeGateway({ flows: 1000 })
  const finished = Promise.withResolvers<unknown>()
  const query = { items: gateway.flows(), view: (flow: object) => flow, offset: 0, limit: 1000 }
  const stream = textStream(listText(query, { type: 'ndjson' }), { patience: 20, finished: finished.resolve })
  const reader = stream.getReader()
  expect((await reader.read()).done).toBe(false)
  expect(await finished.promise).toBeUndefined()
  await reader.closed.then(
    () => expect.unreachable('the body was ended as if it were complete'),
    () => {},
  )
  await until(() => gateway.reading === 0)
})

test('a list that fails on its way is cut, so that nobody takes it for complete', async () => {
  const gateway = new FakeGateway({ flows: 1000 })
  const failure = new Error('the map is gone')
  gateway.onRule = (number) => {
    if (number === 500) throw failure
  }
  const errors: unknown[] = []
  const socket = join(folder, 'failing.sock')
  await using _ = await onSocket(gateway, socket, { onError: (error) => errors.push(error) })
  const response = await fetch('http://gateway/v1/rules', { unix: socket })
  expect(response.status).toBe(200)
  expect(response.text()).rejects.toThrow()
  await until(() => errors.length > 0)
  expect(errors).toEqual([failure])
  expect(gateway.reading).toBe(0)
})

test('only so many lists are read at once', async () => {
  const gateway = new FakeGateway({ flows: 1000 })
  const app = createApi(gateway)
  const open = () => app.handle(new Request('http://gateway/v1/flows'))
  const bodies = await Promise.all(Array.from({ length: 64 }, open))
  const refused = await open()
  expect(refused.status).toBe(503)
  expect(((await refused.json()) as { error: { code: string } }).error.code).toBe('too-many-streams')
  await bodies[0]?.body?.cancel()
  await bodies[1]?.text()
  expect((await open()).status).toBe(200)
  expect((await open()).status).toBe(200)
  expect((await open()).status).toBe(503)
})
