import { describe, expect, test } from 'bun:test'
import { unacknowledgedBytes, unreadBytes } from '@xoffload/linux'
import {
  type FetchHandler,
  type InterruptedResponse,
  type ResumeHandler,
  resumable,
  SharedBody,
} from '@xoffload/proxy-adapters/bun'
import { ramp, rampFrom, resumeRamp, SIZE } from './ramp.ts'
import { get } from './server.ts'
import { adoptOne, eventually, suspended, text } from './suspend-support.ts'

const decode = (state: Uint8Array) => new TextDecoder().decode(state)
const lengthField = { 'content-length': String(SIZE) }
const kinds: Record<string, () => Response> = {
  'a stream of known length': () => new Response(rampFrom(0), { headers: lengthField }),
  'a chunked stream': () => new Response(rampFrom(0)),
  'bytes in memory': () => new Response(ramp),
  'a blob': () => new Response(new Blob([ramp])),
  'a shared body': () => new SharedBody(ramp).response(),
}

/** Waits for the head of a response. */
async function startOf(client: {
  received: Buffer
  until: (condition: () => boolean) => Promise<void>
}): Promise<void> {
  await client.until(() => client.received.includes('\r\n\r\n'))
}

describe('a resumable response', () => {
  test.each(Object.keys(kinds))(
    'that is %s is stopped within its body and goes on',
    async (kind) => {
      const { client, connection } = await adoptOne({
        fetch: () => resumable((kinds[kind] as () => Response)(), 'ramp'),
        resume: resumeRamp,
      })
      await client.send(get('/1') + get('/2'))
      await startOf(client)
      for (let stops = 0; stops < 3; stops++) {
        const stopped = await suspended(connection, { interrupt: true })
        // Whether the client is faster than this loop is a matter of luck, but for the first stop.
        if (stopped.response !== undefined || stops === 0) {
          expect(stopped.response?.offset).toBeLessThan(SIZE)
          expect(decode((stopped.response as InterruptedResponse).state)).toBe('ramp')
          expect(stopped.response).toMatchObject({ keepAlive: true })
        }
        const have = client.received.length
        await Bun.sleep(2)
        stopped.resume()
        await client.until(() => client.received.length > have)
      }
      for (let response = 0; response < 2; response++) expect((await client.response()).body.equals(ramp)).toBe(true)
    },
    30_000,
  )

  test.each(Object.keys(kinds))(
    'that is %s is continued by another server at the same byte',
    async (kind) => {
      const offsets: number[] = []
      const resume: ResumeHandler = (state, offset, info) => {
        offsets.push(offset)
        return resumeRamp(state, offset, info)
      }
      const first = await adoptOne({ fetch: () => resumable((kinds[kind] as () => Response)(), 'ramp'), resume })
      await first.client.send(get('/1'))
      await startOf(first.client)
      const stopped = await suspended(first.connection, { interrupt: true })
      const response = stopped.response as InterruptedResponse
      // What the kernel took arrives before the RST of a connection that was not frozen: the client reads it all first.
      let arrived = -1
      while (arrived !== first.client.received.length) {
        arrived = first.client.received.length
        await Bun.sleep(20)
      }
      const second = await adoptOne({ fetch: () => new Response('next'), resume }, { response })
      await second.client.send(get('/2'))
      const chunked = response.framing.kind === 'chunked'
      const head = first.client.received.indexOf('\r\n\r\n') + 4
      const beginning = first.client.received.subarray(head)
      if (!chunked) expect(beginning.length).toBe(response.offset)
      stopped.close()
      const whole = Buffer.concat([
        first.client.received.subarray(0, head + beginning.length),
        await restOf(second.client, chunked, SIZE - response.offset),
      ])
      expect(bodyOf(whole.subarray(head), chunked).equals(ramp)).toBe(true)
      expect((await second.client.response()).body.toString()).toBe('next')
      expect(offsets).toEqual([response.offset])
      expect([second.connection.requests, second.server.requests]).toEqual([1, 1])
    },
    30_000,
  )

  test('that ends with the connection is continued and ended', async () => {
    const { client, connection } = await adoptOne({
      fetch: () => resumable(new Response(rampFrom(0)), 'ramp'),
      resume: resumeRamp,
    })
    await client.send('GET / HTTP/1.0\r\n\r\n')
    await startOf(client)
    const { response } = await suspended(connection, { interrupt: true })
    expect(response).toMatchObject({ framing: { kind: 'close' }, keepAlive: false })
    const offset = SIZE - 1000
    const last = await adoptOne(
      { fetch: () => new Response('never'), resume: resumeRamp },
      { response: { ...(response as InterruptedResponse), offset } },
    )
    await last.client.send(get())
    await last.client.end()
    expect(last.client.received.equals(ramp.subarray(offset))).toBe(true)
  })

  test('is stopped while the client reads nothing at all, and the kernel takes nothing', async () => {
    for (const kind of ['a stream of known length', 'bytes in memory', 'a shared body']) {
      const { client, connection } = await adoptOne({
        fetch: () => resumable((kinds[kind] as () => Response)(), 'ramp'),
        resume: resumeRamp,
      })
      client.pause()
      await client.send(get())
      await eventually(() => connection.requests === 1)
      await Bun.sleep(20)
      const stopped = await suspended(connection, { interrupt: true })
      expect(stopped.response?.offset).toBeGreaterThan(0)
      stopped.resume()
      client.resume()
      expect((await client.response()).body.equals(ramp)).toBe(true)
    }
  }, 30_000)

  test('goes on when the kernel has sent everything meanwhile', async () => {
    const { client, connection, fd } = await adoptOne({
      fetch: () => resumable(new Response(ramp), 'ramp'),
      resume: resumeRamp,
    })
    client.pause()
    await client.send(get())
    await eventually(() => unacknowledgedBytes(fd) > 0)
    const stopped = await suspended(connection, { interrupt: true })
    client.resume()
    await eventually(() => unacknowledgedBytes(fd) === 0)
    // The event that says so comes in the next turn of the event loop, and only once.
    await Bun.sleep(5)
    stopped.resume()
    expect((await client.response()).body.equals(ramp)).toBe(true)
  })

  test('is stopped while its stream has nothing to give, and gives the rest when it goes on', async () => {
    const gate = Promise.withResolvers<void>()
    const { client, connection } = await adoptOne({
      fetch: () =>
        resumable(
          new Response(
            (async function* () {
              yield 'first'
              await gate.promise
              yield 'second'
            })() as unknown as ReadableStream,
          ),
          'events',
        ),
      resume: () => undefined,
    })
    await client.send(get())
    await client.until(() => client.received.includes('first'))
    const stopped = await suspended(connection, { interrupt: true })
    expect(stopped.response).toMatchObject({ offset: 5, framing: { kind: 'chunked' } })
    gate.resolve()
    await Bun.sleep(5)
    expect(client.received.includes('second')).toBe(false)
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('firstsecond')
  })

  test('is stopped at its beginning when that was asked for before', async () => {
    const gate = Promise.withResolvers<void>()
    const { client, connection } = await adoptOne({
      fetch: async () => {
        await gate.promise
        return resumable(new Response(rampFrom(0)), 'ramp')
      },
      resume: resumeRamp,
    })
    await client.send(get())
    await eventually(() => connection.requests === 1)
    const boundary = connection.suspend()
    const promise = suspended(connection, { interrupt: true })
    gate.resolve()
    const stopped = await promise
    expect(stopped.response?.offset).toBeLessThan(100_000)
    expect(await boundary).toBe(stopped)
    stopped.resume()
    expect((await client.response()).body.equals(ramp)).toBe(true)
  })

  test('keeps what came behind its request', async () => {
    const { client, connection, fd } = await adoptOne({
      fetch: () => resumable(new Response(rampFrom(0)), 'ramp'),
      resume: resumeRamp,
    })
    await client.send(get('/1'))
    await startOf(client)
    await client.send(get('/2'))
    await eventually(() => unreadBytes(fd) === 0)
    const stopped = await suspended(connection, { interrupt: true })
    expect([text(stopped), stopped.head?.target]).toEqual([get('/2'), '/2'])
  })

  test('that ends with the connection does not end it while it is stopped', async () => {
    const gate = Promise.withResolvers<void>()
    const { client, connection } = await adoptOne({
      fetch: () =>
        resumable(
          new Response(
            (async function* () {
              yield 'all'
              await gate.promise
            })() as unknown as ReadableStream,
          ),
          'ramp',
        ),
      resume: resumeRamp,
    })
    await client.send('GET / HTTP/1.0\r\n\r\n')
    await client.until(() => client.received.includes('all'))
    const stopped = await suspended(connection, { interrupt: true })
    expect(stopped.response?.offset).toBe(3)
    gate.resolve()
    await Bun.sleep(5)
    expect([client.ended, stopped.closed]).toEqual([false, false])
    stopped.resume()
    await client.end()
    expect(client.received.toString()).toEndWith('\r\n\r\nall')
  })

  test('is not stopped before its request has arrived completely', async () => {
    const { client, connection } = await adoptOne({
      fetch: () => resumable(new Response(rampFrom(0)), 'ramp'),
      resume: resumeRamp,
      limits: { bufferedBodySize: 0 },
    })
    await client.send('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhel')
    await startOf(client)
    let stops = 0
    const promise = suspended(connection, { interrupt: true }).then((stopped) => {
      stops++
      return stopped
    })
    expect((await client.response()).body.equals(ramp)).toBe(true)
    expect(stops).toBe(0)
    await client.send('lo')
    expect((await promise).response).toBeUndefined()
  })

  test.each([
    ['chunked', undefined],
    ['of known length', { 'content-length': '3' }],
  ])('%s is never stopped with nothing left to send', async (_, headers) => {
    for (let delay = 0; delay < 40; delay++) {
      const asked = Promise.withResolvers<ReturnType<typeof suspended>>()
      const { client, connection } = await adoptOne({
        fetch: () => {
          const stream = new ReadableStream({
            async pull(controller) {
              await Bun.sleep(1)
              controller.enqueue('all')
              controller.close()
              for (let turn = 0; turn < delay; turn++) await undefined
              asked.resolve(suspended(connection, { interrupt: true }))
            },
          })
          return resumable(new Response(stream, headers && { headers }), 'ramp')
        },
        resume: resumeRamp,
      })
      await client.send(get())
      const stopped = await asked.promise
      if (stopped.response !== undefined) {
        await Bun.sleep(1)
        expect(stopped.response.offset).toBeLessThanOrEqual(headers === undefined ? 3 : 2)
        expect(client.received.toString()).not.toEndWith('\r\n0\r\n\r\n')
      }
      stopped.resume()
      expect((await client.response()).body.toString()).toBe('all')
      client.close()
    }
  })

  test('that is moved away tells its handler so', async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const aborted = Promise.withResolvers<unknown>()
    const errors: unknown[] = []
    const { client, connection } = await adoptOne({
      fetch: (request) => {
        request.signal.addEventListener('abort', () => aborted.resolve(request.signal.reason))
        const stream = new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(ramp.subarray(0, 100)),
          cancel: (reason) => cancelled.resolve(reason),
        })
        return resumable(new Response(stream, { headers: lengthField }), 'ramp')
      },
      resume: resumeRamp,
      onError: (error) => void errors.push(error),
    })
    await client.send(get())
    await startOf(client)
    const stopped = await suspended(connection, { interrupt: true })
    stopped.close()
    expect([await cancelled.promise].flat()[0]).toMatchObject({ code: 'CONNECTION_MOVED' })
    expect(await aborted.promise).toMatchObject({ code: 'CONNECTION_MOVED' })
    await client.end()
    await Bun.sleep(5)
    expect(errors).toEqual([])
  })

  test('whose stream fails while it is stopped resets the connection only when it goes on', async () => {
    let fail: (error: Error) => void = () => {}
    const errors: unknown[] = []
    const failure = new Error('the disk is gone')
    const { client, connection } = await adoptOne({
      fetch: () => {
        const stream = new ReadableStream<Uint8Array>({
          start(controller) {
            controller.enqueue(ramp.subarray(0, 100))
            fail = (error) => controller.error(error)
          },
        })
        return resumable(new Response(stream), 'ramp')
      },
      resume: resumeRamp,
      onError: (error) => void errors.push(error),
    })
    await client.send(get())
    await startOf(client)
    const stopped = await suspended(connection, { interrupt: true })
    fail(failure)
    await eventually(() => errors.length === 1)
    expect([stopped.closed, connection.closed]).toEqual([false, false])
    stopped.resume()
    await client.end()
    expect(errors).toEqual([failure])
  })
})

describe('a response is sent to its end', () => {
  const cases: [string, FetchHandler, ResumeHandler | undefined, boolean][] = [
    ['that is not resumable', () => new Response(rampFrom(0)), resumeRamp, true],
    ['when nobody asked to interrupt it', () => resumable(new Response(rampFrom(0)), 'ramp'), resumeRamp, false],
    ['by a server that could not resume it', () => resumable(new Response(rampFrom(0)), 'ramp'), undefined, true],
    ['that fits the socket buffer', () => resumable(new Response('small'), 'ramp'), resumeRamp, true],
  ]
  test.each(cases)('%s', async (_, fetch, resume, interrupt) => {
    const gate = Promise.withResolvers<void>()
    const { client, connection } = await adoptOne({
      fetch: async (request, info) => {
        await gate.promise
        return await fetch(request, info)
      },
      ...(resume !== undefined && { resume }),
    })
    await client.send(get())
    await eventually(() => connection.requests === 1)
    const promise = suspended(connection, { interrupt })
    gate.resolve()
    const { body } = await client.response()
    expect([5, SIZE]).toContain(body.length)
    expect((await promise).response).toBeUndefined()
  })
})

/** What a server sends of the rest of a response: `length` bytes of content, or chunks up to the last one. */
async function restOf(
  client: { received: Buffer; take: (count: number) => Promise<Buffer>; until: (c: () => boolean) => Promise<void> },
  chunked: boolean,
  length: number,
): Promise<Buffer> {
  if (!chunked) return await client.take(length)
  const last = '\r\n0\r\n\r\n'
  await client.until(() => client.received.length > length && client.received.indexOf(last, length) >= 0)
  return await client.take(client.received.indexOf(last, length) + last.length)
}

function bodyOf(bytes: Buffer, chunked: boolean): Buffer {
  if (!chunked) return bytes
  const chunks: Buffer[] = []
  for (let offset = 0; ; ) {
    const line = bytes.indexOf('\r\n', offset)
    const size = Number.parseInt(bytes.toString('latin1', offset, line), 16)
    if (size === 0) return Buffer.concat(chunks)
    chunks.push(bytes.subarray(line + 2, line + 2 + size))
    offset = line + 2 + size + 2
  }
}
