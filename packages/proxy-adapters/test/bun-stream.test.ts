import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, get, serve, serveOne } from './server.ts'

const encode = (text: string) => new TextEncoder().encode(text)

/** A stream of `count` chunks that tells how far it was pulled and whether it was cancelled. */
function counted(count: number, size: number) {
  const state = { pulled: 0, cancelled: Promise.withResolvers<unknown>() }
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (state.pulled++ === count) controller.close()
        else controller.enqueue(new Uint8Array(size).fill(state.pulled % 251))
      },
      cancel: (reason) => state.cancelled.resolve(reason),
    },
    { highWaterMark: 0 },
  )
  return { state, stream }
}

/** The `pull` of a direct stream, Bun's own kind. */
function writeAndEnd(controller: { write(text: string): void; end(): void }): void {
  controller.write('abc')
  controller.end()
}

describe('a streamed response', () => {
  test('is sent in chunks and keeps the connection', async () => {
    const client = await serveOne(() => new Response(counted(5, 100_000).stream))
    for (let turn = 0; turn < 2; turn++) {
      await client.send(get())
      const { headers, body } = await client.response()
      expect(headers.get('transfer-encoding')).toBe('chunked')
      expect(headers.has('content-length')).toBe(false)
      expect(body.length).toBe(500_000)
      expect([body[0], body[499_999]]).toEqual([1, 5])
    }
  })

  test('to HTTP/1.0 ends with the connection', async () => {
    const client = await serveOne(() => new Response(counted(3, 1000).stream))
    await client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    const { headers, body } = await client.response()
    expect(headers.get('connection')).toBe('close')
    expect(headers.has('transfer-encoding')).toBe(false)
    expect(body.length).toBe(3000)
  })

  test('to HEAD is cancelled', async () => {
    const { state, stream } = counted(3, 1000)
    const client = await serveOne(() => new Response(stream))
    await client.send('HEAD / HTTP/1.1\r\nHost: test\r\n\r\n')
    expect((await client.response(true)).headers.get('transfer-encoding')).toBe('chunked')
    await state.cancelled.promise
  })

  test('has its head sent before the first chunk is there', async () => {
    const gate = Promise.withResolvers<void>()
    const client = await serveOne(
      () =>
        new Response(
          new ReadableStream({
            async start(controller) {
              await gate.promise
              controller.enqueue('data: 1\n\n')
              controller.close()
            },
          }),
          { headers: { 'content-type': 'text/event-stream' } },
        ),
    )
    await client.send(get())
    await client.until(() => client.received.includes('\r\n\r\n'))
    gate.resolve()
    expect((await client.response()).body.toString()).toBe('data: 1\n\n')
  })

  test('may come from a generator, a direct stream, a byte stream, a tee, or another server', async () => {
    const upstream = serve(() => new Response(counted(4, 50_000).stream))
    const kinds: Record<string, () => Response | Promise<Response>> = {
      generator: () =>
        new Response(
          (async function* () {
            yield 'ab'
            yield encode('c')
          })() as unknown as ReadableStream,
        ),
      direct: () =>
        new Response(
          new ReadableStream({ type: 'direct', pull: writeAndEnd } as unknown as ConstructorParameters<
            typeof ReadableStream
          >[0]),
        ),
      bytes: () =>
        new Response(
          new ReadableStream({
            type: 'bytes',
            pull(controller) {
              controller.enqueue(encode('abc'))
              controller.close()
            },
          }),
        ),
      tee: () => new Response(new Response(new Blob(['abc']).stream().pipeThrough(new TransformStream())).clone().body),
      fetched: async () => await fetch(`http://127.0.0.1:${upstream.port}/`),
    }
    const client = await serveOne((request) => (kinds[new URL(request.url).pathname.slice(1)] as () => Response)())
    for (const kind of Object.keys(kinds)) {
      await client.send(get(`/${kind}`))
      const { body } = await client.response()
      expect([kind, kind === 'fetched' ? body.length : body.toString()]).toEqual([
        kind,
        kind === 'fetched' ? 200_000 : 'abc',
      ])
    }
  })

  test('is pulled no faster than the client reads, and cancelled when the client goes', async () => {
    const { state, stream } = counted(Number.POSITIVE_INFINITY, 100_000)
    const client = await serveOne(() => new Response(stream))
    await client.send(get())
    await client.until(() => client.received.length > 0)
    client.pause()
    let before = -1
    // When nothing is pulled for a while, the socket buffers are full.
    while (before !== state.pulled) {
      before = state.pulled
      await Bun.sleep(50)
    }
    expect(state.pulled).toBeLessThan(1000)
    client.close()
    // Streams are told apart from bodies in memory by a clone, and a cancelled tee gives the reasons of both its ends.
    expect([await state.cancelled.promise].flat()[0]).toMatchObject({ code: 'CLIENT_GONE' })
  })

  test('with a declared length is held to it', async () => {
    const { port } = serve(
      (request) =>
        new Response(counted(3, 10).stream, { headers: { 'content-length': new URL(request.url).pathname.slice(1) } }),
      { onError: () => undefined },
    )
    const exact = await connect(port)
    await exact.send(get('/30'))
    const { headers, body } = await exact.response()
    expect([headers.get('content-length'), headers.has('transfer-encoding'), body.length]).toEqual(['30', false, 30])
    for (const length of [29, 31]) {
      const wrong = await connect(port)
      await wrong.send(get(`/${length}`))
      await wrong.end()
      // Never more than was declared: the rest would be read as the next response.
      const received = wrong.received.length - wrong.received.indexOf('\r\n\r\n') - 4
      expect(received).toBeLessThanOrEqual(length)
    }
  })

  test('that fails in the middle ends the connection without an end of the body', async () => {
    const errors: unknown[] = []
    const failure = new Error('in the middle')
    const client = await serveOne(
      () =>
        new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(encode('abc')),
            async pull(controller) {
              await Bun.sleep(5)
              controller.error(failure)
            },
          }),
        ),
      { onError: (error) => void errors.push(error) },
    )
    await client.send(get())
    await client.end()
    expect(client.received.toString()).toEndWith('3\r\nabc\r\n')
    expect(errors).toEqual([failure])
  })

  test('is not affected by a client that resets while it is written', async () => {
    const { server, port } = serve(() => new Response(new Uint8Array(10_000_000)))
    for (let turn = 0; turn < 10; turn++) {
      const client = await connect(port)
      await client.send(get())
      await client.until(() => client.received.length > 0)
      client.close()
    }
    while (server.connections > 0) await Bun.sleep(1)
    const client = await connect(port)
    await client.send(get())
    expect((await client.response()).body.length).toBe(10_000_000)
  })
})

describe('a file', () => {
  test('is sent with its length and type, whole or a slice; a missing one is an error', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'http-server-'))
    try {
      const content = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, index) => index % 251))
      const path = join(folder, 'file.html')
      await Bun.write(path, content)
      const bodies: Record<string, () => Blob> = {
        '/whole': () => Bun.file(path),
        '/slice': () => Bun.file(path).slice(10, 600_000),
        '/missing': () => Bun.file(join(folder, 'missing')),
      }
      const errors: unknown[] = []
      const client = await serveOne((request) => new Response(bodies[new URL(request.url).pathname]?.()), {
        onError: (error) => void errors.push(error),
      })
      await client.send(get('/whole') + get('/slice') + get('/missing') + get('/whole'))
      const whole = await client.response()
      expect(whole.headers.get('content-length')).toBe('1000000')
      expect(whole.headers.get('content-type')).toStartWith('text/html')
      expect(whole.body.equals(content)).toBe(true)
      expect((await client.response()).body.equals(content.subarray(10, 600_000))).toBe(true)
      expect((await client.response()).status).toBe(500)
      expect(errors).toMatchObject([{ code: 'ENOENT' }])
      expect((await client.response()).body.length).toBe(1_000_000)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
