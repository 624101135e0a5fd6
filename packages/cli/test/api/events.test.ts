import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { createApi } from '../../src/api/create-api.ts'
import { eventText } from '../../src/api/event-text.ts'
import { FakeGateway, firstFlow, flowOf, handoff } from './fake-gateway.ts'
import { onSocket, rawGet, temporaryFolder, until } from './support.ts'

const folder = temporaryFolder()

/** Events that a test sends. */
function source(options: Partial<Parameters<typeof eventText>[0]> = {}) {
  let send: (name: string, data: string) => void = () => {}
  let subscriptions = 0
  const ended = new AbortController()
  const text = eventText({
    subscribe(to) {
      subscriptions++
      send = to
      return () => subscriptions--
    },
    maximumWaiting: 200,
    heartbeat: 60_000,
    signal: ended.signal,
    ...options,
  })
  return { text, ended, send: (name: string, data: string) => send(name, data), subscriptions: () => subscriptions }
}

test('every kind of event, as it happens', async () => {
  const gateway = new FakeGateway()
  const ended = new AbortController()
  const app = createApi(gateway, { signal: ended.signal })
  const response = await app.handle(new Request('http://gateway/v1/events'))
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  gateway.emit({ type: 'handoff', handoff: handoff(0) })
  gateway.emit({ type: 'ended', flow: flowOf(0), server: 's1' })
  gateway.emit({ type: 'server-down', server: 's2' })
  gateway.emit({ type: 'server-up', server: 's2' })
  gateway.emit({ type: 'drain', server: 's1', remaining: 4 })
  ended.abort()
  const events = (await response.text()).split('\n\n')
  expect(events.shift()).toStartWith(': ')
  expect(events.pop()).toBe('')
  const parsed = events.map((event) => {
    const [, name, data] = /^event: (.+)\ndata: (.+)$/.exec(event) ?? []
    return { name, ...JSON.parse(data ?? '') }
  })
  expect(parsed).toEqual([
    {
      name: 'handoff',
      type: 'handoff',
      handoff: {
        at: '2026-01-01T00:00:00.000Z',
        flow: firstFlow,
        direction: 'gateway-to-server',
        from: 'gateway',
        to: 's1',
        outcome: { result: 'handed-off', handoff: 7, times: { lock: 12, commit: 401, total: 900 } },
      },
    },
    { name: 'ended', type: 'ended', flow: firstFlow, server: 's1' },
    { name: 'server-down', type: 'server-down', server: 's2' },
    { name: 'server-up', type: 'server-up', server: 's2' },
    { name: 'drain', type: 'drain', server: 's1', remaining: 4 },
  ])
})

test('what does not fit is counted, nothing comes out of order, and the reader is told', async () => {
  const { text, send } = source()
  expect(await text.next()).toBe(': xoffload\n\n')
  send('a', 'x'.repeat(150))
  send('a', 'y'.repeat(150))
  send('a', 'short')
  expect(await text.next()).toBe(
    `event: a\ndata: ${'x'.repeat(150)}\n\nevent: missed\ndata: {"type":"missed","count":2}\n\n`,
  )
  send('a', 'later')
  expect(await text.next()).toBe('event: a\ndata: later\n\n')
})

test('an event that is longer than everything that may wait is missed, not waited for', async () => {
  const { text, send } = source()
  await text.next()
  send('a', 'x'.repeat(500))
  expect(await text.next()).toBe('event: missed\ndata: {"type":"missed","count":1}\n\n')
})

test('signs of life come while nothing happens', async () => {
  const { text } = source({ heartbeat: 5 })
  for (let index = 0; index < 3; index++) expect(await text.next()).toBe(': xoffload\n\n')
  await text.stop()
})

test('at the end what waits is still said, and nothing is listened to', async () => {
  const { text, send, ended, subscriptions } = source()
  expect(subscriptions()).toBe(1)
  send('a', 'last')
  ended.abort()
  expect(subscriptions()).toBe(0)
  expect(await text.next()).toBe(': xoffload\n\nevent: a\ndata: last\n\n')
  expect(await text.next()).toBeUndefined()
  const late = source({ signal: AbortSignal.abort() })
  expect(late.subscriptions()).toBe(0)
})

test('a slow reader costs the gateway a bounded buffer, and is told how much it has missed', async () => {
  const gateway = new FakeGateway()
  const socket = join(folder, 'slow.sock')
  const server = await onSocket(gateway, socket)
  const listening = gateway.listeners.size
  const connection = rawGet(socket, '/v1/events')
  connection.pause()
  await until(() => gateway.listeners.size === listening + 1)
  const sent = 20_000
  for (let index = 0; index < sent; index++) {
    gateway.emit({ type: 'handoff', handoff: handoff(index) })
    if (index % 100 === 0) await Bun.sleep(0)
  }
  let text = ''
  connection.setEncoding('utf8')
  connection.on('data', (chunk: string) => {
    text += chunk
  })
  connection.resume()
  await until(() => text.includes('"type":"missed"'))
  gateway.emit({ type: 'drain', server: 's1', remaining: 1 })
  await until(() => text.includes('"type":"drain"'))
  const missed = Number(/"type":"missed","count":(\d+)/.exec(text)?.[1])
  expect(missed + text.split('event: handoff').length - 1).toBe(sent)
  expect(missed).toBeGreaterThan(0)
  // They are 6 MB. What waited for the reader is what it got.
  expect(text.length).toBeLessThan(2_000_000)
  await server.close()
  connection.destroy()
})

test('events end when the API closes, and are let go when their reader goes away', async () => {
  const gateway = new FakeGateway()
  const socket = join(folder, 'end.sock')
  const server = await onSocket(gateway, socket)
  const listening = gateway.listeners.size
  const gone = rawGet(socket, '/v1/events')
  await until(() => gateway.listeners.size === listening + 1)
  gone.destroy()
  await until(() => gateway.listeners.size === listening)
  const response = await fetch('http://gateway/v1/events', { unix: socket })
  gateway.emit({ type: 'server-up', server: 's1' })
  const text = response.text()
  await server.close()
  expect(await text).toEndWith('data: {"type":"server-up","server":"s1"}\n\n')
  expect(gateway.listeners.size).toBe(0)
})
