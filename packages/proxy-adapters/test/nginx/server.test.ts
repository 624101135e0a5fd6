// The gateway process's side, with workers that say what nginx says, and what it does not.
import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { closeFd, unixPair } from '@xoffload/linux'
import {
  type NginxArrival,
  NginxError,
  type NginxGatewayOptions,
  NginxGatewayServer,
} from '@xoffload/proxy-adapters/nginx'
import { encodeAnswer, WordDecoder } from '../../src/nginx/protocol.ts'
import { establishedSocket } from '../established-socket.ts'
import { encodeOffer, FakeWorker } from './fake-worker.ts'
import { afterTest, cleanUp, eventually } from './support.ts'

afterEach(cleanUp)

const [REFUSED, FAILED, HANDED_OFF] = [18, 19, 17]

function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nginx-gateway-'))
  afterTest(() => rmSync(folder, { recursive: true }))
  return join(folder, 'nginx.sock')
}

async function open(options: Partial<NginxGatewayOptions> = {}) {
  const socket = socketPath()
  const errors: NginxError[] = []
  const server = await NginxGatewayServer.open({
    socket,
    onArrival: async () => ({ result: 'refused', reason: 'no' }),
    onError: (error) => errors.push(error as NginxError),
    ...options,
  })
  afterTest(() => server.close())
  return { server, socket, errors }
}

async function connection(): Promise<number> {
  const { fd, client } = await establishedSocket()
  afterTest(() => client.close())
  return fd
}

test('an offer, and each kind of answer', async () => {
  const arrivals: NginxArrival[] = []
  const { server, socket } = await open({
    onArrival: async (arrival) => {
      arrivals.push(arrival)
      if (arrival.server === 'good') return { result: 'handed-off' }
      return { result: 'refused', reason: 'x'.repeat(300), serverFailed: arrival.server === 'bad' }
    },
  })
  const worker = new FakeWorker(socket)
  await worker.hello()
  const answers = []
  for (const [index, name] of ['good', 'bad', 'busy'].entries()) {
    const fd = await connection()
    worker.offer(encodeOffer(BigInt(index), 'GET / HTTP/1.1\r\n\r\n', ['up', name, '10.0.0.1:80']), [fd])
    closeFd(fd)
    answers.push(await worker.answer())
  }
  expect(answers).toEqual([
    { type: HANDED_OFF as number, id: 0n, reason: '' },
    { type: FAILED as number, id: 1n, reason: 'x'.repeat(255) },
    { type: REFUSED as number, id: 2n, reason: 'x'.repeat(255) },
  ])
  const [first] = arrivals
  expect(first).toMatchObject({ upstream: 'up', address: '10.0.0.1:80', requests: 7, hasBody: true, keepAlive: true })
  expect(Buffer.from(first?.received ?? []).toString()).toBe('GET / HTTP/1.1\r\n\r\n')
  expect(first?.worker.pid).toBe(process.pid)
  // Who has handed it off closes it; all others are closed, and their bytes are gone.
  expect(arrivals.map(({ closed }) => closed)).toEqual([false, true, true])
  expect(arrivals[1]?.received.every((byte) => byte === 0)).toBe(true)
  first?.close()
  expect(server.inFlight).toBe(0)
})

test('what no worker says ends its connection, and only that', async () => {
  const { socket, errors, server } = await open()
  const good = new FakeWorker(socket)
  await good.hello()
  const fd = await connection()
  const wrong: ((worker: FakeWorker) => Promise<void>)[] = [
    async (worker) => worker.say(99, 0),
    async (worker) => worker.say(1, 2),
    async (worker) => {
      await worker.hello()
      worker.say(1, 1)
    },
    async (worker) => {
      await worker.hello()
      worker.offer(encodeOffer(1n, 'GET'), [])
    },
    async (worker) => {
      await worker.hello()
      worker.offer(new Uint8Array(31), [fd])
    },
    async (worker) => {
      await worker.hello()
      const offer = encodeOffer(1n, 'GET')
      offer.writeUInt16LE(0xffff, 20)
      worker.offer(offer, [fd])
    },
  ]
  const descriptors = () => readdirSync('/proc/self/fd').length
  const before = descriptors()
  for (const deed of wrong) {
    const worker = new FakeWorker(socket)
    await deed(worker)
    await worker.ended()
    worker.close()
  }
  expect(errors.map(({ reason }) => reason)).toEqual(wrong.map(() => 'protocol'))
  await eventually(() => server.workers.length === 1 && descriptors() === before, 'the number of descriptors')
  good.offer(encodeOffer(5n, 'GET'), [fd])
  closeFd(fd)
  expect((await good.answer()).id).toBe(5n)
})

test('a descriptor that is no connection is refused', async () => {
  const { socket, errors } = await open()
  const worker = new FakeWorker(socket)
  await worker.hello()
  const pair = unixPair()
  worker.offer(encodeOffer(9n, 'GET'), pair)
  pair.forEach(closeFd)
  expect(await worker.answer()).toMatchObject({ type: REFUSED, id: 9n })
  expect(errors).toEqual([])
})

test('the stream stays open until all that is in flight is answered', async () => {
  const release = Promise.withResolvers<void>()
  const { socket, server } = await open({
    onArrival: async () => {
      await release.promise
      return { result: 'refused', reason: 'late' }
    },
  })
  const worker = new FakeWorker(socket)
  await worker.hello()
  const fd = await connection()
  worker.offer(encodeOffer(1n, 'GET'), [fd])
  await eventually(() => server.inFlight === 1)
  const closed = server.close()
  worker.offer(encodeOffer(2n, 'GET'), [fd])
  closeFd(fd)
  expect(await worker.answer()).toEqual({ type: REFUSED as number, id: 2n, reason: 'the gateway is being closed' })
  worker.say(99, 0)
  release.resolve()
  expect(await worker.answer()).toEqual({ type: REFUSED as number, id: 1n, reason: 'late' })
  await closed
  await worker.ended()
})

test('there is a limit to the number of workers', async () => {
  const { socket, errors } = await open({ maximumWorkers: 1 })
  await new FakeWorker(socket).hello()
  await new FakeWorker(socket).ended()
  expect(errors.map(({ reason }) => reason)).toEqual(['busy'])
})

/**
 * Lets this process open nothing more, and returns what takes that back. The limit goes below the descriptors in use: to take all that are free is not
 * enough, as the runtime closes its own (those of ended processes, for one) at any later moment. Another process does it, as starting one needs some.
 */
async function forbidDescriptors(): Promise<() => Promise<void>> {
  const limit = `prlimit --pid ${process.pid} --nofile`
  const script = `before=$(${limit} --output=SOFT --noheadings); ${limit}=3: && echo; read word; ${limit}=$before:`
  const child = Bun.spawn(['sh', '-c', script], { stdin: 'pipe', stdout: 'pipe' })
  expect((await child.stdout.getReader().read()).done).toBe(false)
  return async () => {
    child.stdin.end()
    expect(await child.exited).toBe(0)
  }
}

test('a gateway that may not open more files refuses what it cannot take', async () => {
  const { socket, errors } = await open({ onArrival: async () => ({ result: 'handed-off' }) })
  const worker = new FakeWorker(socket)
  await worker.hello()
  const fd = await connection()
  const allow = await forbidDescriptors()
  afterTest(allow)
  worker.offer(encodeOffer(1n, 'GET'), [fd])
  const reason = 'the gateway may not open more files'
  expect(await worker.answer()).toEqual({ type: REFUSED as number, id: 1n, reason })
  await allow()
  worker.offer(encodeOffer(2n, 'GET'), [fd])
  closeFd(fd)
  expect(await worker.answer()).toMatchObject({ type: HANDED_OFF, id: 2n })
  expect(errors).toEqual([])
})

test('the path is taken', async () => {
  const { socket } = await open()
  const again = NginxGatewayServer.open({ socket, onArrival: async () => ({ result: 'handed-off' }) })
  await expect(again).rejects.toThrow(NginxError)
  const file = socketPath()
  writeFileSync(file, '')
  const there = NginxGatewayServer.open({ socket: file, onArrival: async () => ({ result: 'handed-off' }) })
  await expect(there).rejects.toThrow('is no socket')
})

test('words come in any pieces; reasons are one line of whole characters', () => {
  const decoder = new WordDecoder()
  const bytes = new Uint8Array(new Uint32Array([1, 1, 2, 0]).buffer)
  const words = [...bytes].flatMap((byte) => decoder.decode(new Uint8Array([byte])))
  expect(words).toEqual([
    { type: 'hello', value: 1 },
    { type: 'offered', value: 0 },
  ])
  expect(Buffer.from(encodeAnswer('lost', 1n, 'a\r\n\x1bb').subarray(16)).toString()).toBe('a b')
  expect(encodeAnswer('lost', 1n, 'é'.repeat(200)).length).toBe(16 + 254)
})
