// What comes too late, or too much at once, at a server program that is slow.
import { afterEach, expect, test } from 'bun:test'
import type { PreloadSuspended } from '@xoffload/proxy-adapters/preload'
import { get } from '../server.ts'
import { adoptClient, afterTest, cleanUp, eventually, install } from './support.ts'

afterEach(cleanUp)

test('a verdict that came too late says nothing about the next request', async () => {
  const { server } = await install('node', { askTimeout: 1 })
  const { client, connection } = await adoptClient(server, {
    route: (_, { target }) => {
      // Longer than the program waits.
      Bun.sleepSync(50)
      return target === '/late' ? 'suspend' : 'serve'
    },
    onSuspended: () => {
      throw new Error('the program has served that request')
    },
  })
  await client.send(get('/late'))
  expect((await client.response()).body.toString()).toBe('GET /late ')
  const suspended = await connection.suspend()
  expect([suspended?.next.length, suspended?.head]).toEqual([0, undefined])
  suspended?.resume()
  await client.send(get('/more'))
  expect((await client.response()).body.toString()).toBe('GET /more ')
})

test('connections that go on have their places, however many wait', async () => {
  const { server } = await install('node', { maximumWaiting: 2 })
  const clients = []
  for (let count = 0; count < 6; count++) clients.push(await adoptClient(server))
  const suspended = await Promise.all(clients.map(({ connection }) => connection.suspend()))
  for (const stopped of suspended) (stopped as PreloadSuspended).resume()
  expect(server.waiting).toBe(6)
  for (const { client } of clients) {
    await client.send(get('/1'))
    expect((await client.response()).body.toString()).toBe('GET /1 ')
  }
  expect(server.waiting).toBe(0)
})

test('what the former owner had not sent goes out, and is overwritten', async () => {
  const { server } = await install('node')
  const unsent = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbefore')
  const { client } = await adoptClient(server, { unsent })
  expect((await client.response()).body.toString()).toBe('before')
  expect(unsent.every((byte) => byte === 0)).toBe(true)
})

test('it is told when the last process of the program has ended, and the next one is found', async () => {
  const counts: number[] = []
  const { server, program } = await install('node', { onProcesses: (count) => counts.push(count) })
  expect(counts).toEqual([1])
  program.kill('SIGKILL')
  await eventually(() => counts.length === 2)
  expect([counts[1], server.processes]).toEqual([0, []])
  await expect(server.ready({ timeoutMilliseconds: 50 })).rejects.toThrow(/nobody listens/)
  afterTest(() => server.close())
})
