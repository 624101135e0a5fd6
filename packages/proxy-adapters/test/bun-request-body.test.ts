import { describe, expect, test } from 'bun:test'
import { connect, get, serve, serveOne } from './server.ts'

const post = (fields: string, body = '') => `POST / HTTP/1.1\r\nHost: test\r\n${fields}\r\n${body}`
const echo = async (request: Request) => new Response(await request.bytes())

describe('a request body', () => {
  test('with a length is received, whole or in pieces', async () => {
    const client = await serveOne(echo)
    await client.send(post('Content-Length: 5\r\n', 'hello') + post('Content-Length: 0\r\n'))
    expect((await client.response()).body.toString()).toBe('hello')
    expect((await client.response()).body.toString()).toBe('')
    for (const piece of post('Content-Length: 5\r\n', 'world')) await client.send(piece)
    expect((await client.response()).body.toString()).toBe('world')
  })

  test('in chunks is received, whole or in pieces, with trailers', async () => {
    const client = await serveOne(echo)
    const body = '5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: yes\r\n\r\n'
    await client.send(post('Transfer-Encoding: chunked\r\n', body))
    expect((await client.response()).body.toString()).toBe('hello world')
    for (const piece of post('Transfer-Encoding: chunked\r\n', body)) await client.send(piece)
    expect((await client.response()).body.toString()).toBe('hello world')
  })

  test.each(['json', 'text', 'formData'] as const)('can be read as %s', async (kind) => {
    const client = await serveOne(async (request) => {
      const value = await request[kind]()
      return Response.json(value instanceof FormData ? { a: value.get('a') } : value)
    })
    const type = kind === 'formData' ? 'application/x-www-form-urlencoded' : 'application/json'
    const body = kind === 'formData' ? 'a=1' : '{"a":"1"}'
    await client.send(post(`Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n`, body))
    const expected = kind === 'text' ? '{"a":"1"}' : { a: '1' }
    expect(JSON.parse((await client.response()).body.toString())).toEqual(expected)
  })

  test.each(['Content-Length: 20000000\r\n', 'Transfer-Encoding: chunked\r\n'])(
    'of 20 MB arrives whole: %s',
    async (field) => {
      const bytes = Buffer.from(Uint8Array.from({ length: 20_000_000 }, (_, index) => index % 251))
      const client = await serveOne(async (request) => new Response(Bun.SHA256.hash(await request.bytes(), 'hex')))
      const sent = client.send(post(field)).then(async () => {
        if (field.startsWith('C')) return await client.send(bytes)
        for (let at = 0; at < bytes.length; at += 777_777) {
          const chunk = bytes.subarray(at, at + 777_777)
          await client.send(
            Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
          )
        }
        await client.send('0\r\n\r\n')
      })
      expect((await client.response()).body.toString()).toBe(Bun.SHA256.hash(bytes, 'hex'))
      await sent
      await client.send(get())
      expect((await client.response()).status).toBe(200)
    },
  )

  test('is not read faster than the handler reads it', async () => {
    const gate = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const client = await serveOne(async (request) => {
      begun.resolve()
      await gate.promise
      let size = 0
      for await (const chunk of request.body ?? []) size += chunk.length
      return new Response(`${size}`)
    })
    const size = 64_000_000
    const sent = client.send(post(`Content-Length: ${size}\r\n`)).then(() => client.send(new Uint8Array(size)))
    await begun.promise
    let done = false
    void sent.then(() => {
      done = true
    })
    await Bun.sleep(100)
    // Socket buffers and the queue hold a part; the rest waits at the client.
    expect(done).toBe(false)
    gate.resolve()
    expect((await client.response()).body.toString()).toBe(`${size}`)
    await sent
  })

  test('is streamed back while it arrives', async () => {
    const client = await serveOne((request) => new Response(request.body))
    await client.send(post('Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n'))
    await client.until(() => client.received.includes('3\r\nabc\r\n'))
    await client.send('3\r\ndef\r\n0\r\n\r\n')
    expect((await client.response()).body.toString()).toBe('abcdef')
  })

  test('that the handler does not read is skipped, and the next request is served', async () => {
    const client = await serveOne((request) => new Response(request.method))
    const size = 300_000
    await client.send(post(`Content-Length: ${size}\r\n`))
    expect((await client.response()).body.toString()).toBe('POST')
    await client.send(new Uint8Array(size))
    await client.send(get())
    expect((await client.response()).body.toString()).toBe('GET')
  })

  test('that nobody wants and that is too large to skip ends the connection', async () => {
    const client = await serveOne(() => new Response('no, thank you'))
    await client.send(post('Content-Length: 100000000\r\n'))
    expect((await client.response()).status).toBe(200)
    await client.send(new Uint8Array(20_000_000))
    await client.end()
  })

  test('that the handler cancels is skipped', async () => {
    const client = await serveOne(async (request) => {
      await request.body?.cancel()
      return new Response('cancelled')
    })
    await client.send(post('Content-Length: 300000\r\n'))
    await client.send(new Uint8Array(300_000))
    expect((await client.response()).body.toString()).toBe('cancelled')
    await client.send(get())
    expect((await client.response()).status).toBe(200)
  })

  test('that ends too early fails in the handler, which may still answer', async () => {
    const { port } = serve(async (request) => {
      try {
        return new Response(await request.text())
      } catch (error) {
        return new Response(`${(error as Error).name}`, { status: 400 })
      }
    })
    const streamed = await connect(port)
    await streamed.send(post('Transfer-Encoding: chunked\r\n', '5\r\nab'))
    streamed.halfClose()
    const { status, body } = await streamed.response()
    expect([status, body.toString()]).toEqual([400, 'ClientGoneError'])
    await streamed.end()
    const buffered = await connect(port)
    await buffered.send(post('Content-Length: 5\r\n', 'ab'))
    buffered.halfClose()
    expect((await buffered.response()).status).toBe(400)
    await buffered.end()
  })
})

test('a handler that reads in the background after a last response learns that the body ends', async () => {
  const outcome = Promise.withResolvers<unknown>()
  const client = await serveOne((request) => {
    request.text().catch(outcome.resolve)
    return new Response('last', { headers: { connection: 'close' } })
  })
  await client.send(post('Content-Length: 500000\r\n', 'begin'))
  expect((await client.response()).body.toString()).toBe('last')
  await client.end()
  expect(await outcome.promise).toMatchObject({ code: 'HTTP_SERVER' })
})

describe('Expect: 100-continue', () => {
  test('is answered for a small body at once and for a large one when the handler reads', async () => {
    const client = await serveOne(async (request) => new Response(`${(await request.bytes()).length}`))
    for (const size of [5, 500_000]) {
      await client.send(post(`Expect: 100-continue\r\nContent-Length: ${size}\r\n`))
      expect((await client.take(25)).toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n')
      await client.send(new Uint8Array(size))
      expect((await client.response()).body.toString()).toBe(`${size}`)
    }
  })

  test('is not answered when the handler does not want the body; the connection ends', async () => {
    const client = await serveOne(() => new Response('no', { status: 403 }))
    await client.send(post('Expect: 100-continue\r\nContent-Length: 500000\r\n'))
    const { status, headers } = await client.response()
    expect(status).toBe(403)
    expect(headers.get('connection')).toBe('close')
    await client.end()
  })

  test('is not answered when the client sends the body anyway', async () => {
    const client = await serveOne(echo)
    await client.send(post('Expect: 100-continue\r\nContent-Length: 5\r\n', 'hello'))
    expect((await client.response()).body.toString()).toBe('hello')
  })
})

describe('limits', () => {
  test('a body above the limit is refused with 413 before the handler is called', async () => {
    let called = false
    const client = await serveOne(
      () => {
        called = true
        return new Response()
      },
      { limits: { bodySize: 1000 } },
    )
    await client.send(post('Content-Length: 1001\r\n'))
    expect((await client.response()).status).toBe(413)
    await client.end()
    expect(called).toBe(false)
  })

  test('a chunked body above the limit is refused with 413, and the handler learns it', async () => {
    const begun = Promise.withResolvers<void>()
    const failure = Promise.withResolvers<unknown>()
    const client = await serveOne(
      async (request) => {
        begun.resolve()
        await request.bytes().catch(failure.resolve)
        return new Response('too late')
      },
      { limits: { bodySize: 1000 } },
    )
    await client.send(post('Transfer-Encoding: chunked\r\n', `3e8\r\n${'a'.repeat(1000)}\r\n`))
    await begun.promise
    await client.send('1\r\n')
    expect((await client.response()).status).toBe(413)
    expect(await failure.promise).toMatchObject({ status: 413 })
    await client.end()
    expect(client.received.length).toBe(0)
  })

  test('a malformed chunk is refused with 400', async () => {
    const client = await serveOne(echo)
    await client.send(post('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\nx\r\n'))
    expect((await client.response()).status).toBe(400)
    await client.end()
  })
})
