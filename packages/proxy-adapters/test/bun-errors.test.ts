import { describe, expect, spyOn, test } from 'bun:test'
import { connect, get, serve, serveOne } from './server.ts'

describe('a handler that fails', () => {
  const failure = new Error('secret detail')
  const failing: Record<string, () => Response | Promise<Response>> = {
    throws: () => {
      throw failure
    },
    rejects: () => Promise.reject(failure),
    'rejects later': async () => {
      await Bun.sleep(1)
      throw failure
    },
    'returns nothing': () => undefined as unknown as Response,
    'returns Response.error()': () => Response.error(),
    'returns a used response': async () => {
      const response = new Response('x')
      await response.text()
      return response
    },
  }

  test.each(Object.keys(failing))('%s: the client gets 500 without details and the connection stays', async (kind) => {
    const errors: unknown[] = []
    const client = await serveOne(failing[kind] as () => Response, { onError: (error) => void errors.push(error) })
    for (let turn = 1; turn <= 2; turn++) {
      await client.send(get())
      const { status, body } = await client.response()
      expect([status, body.toString()]).toEqual([500, 'Internal Server Error'])
      expect(errors).toHaveLength(turn)
    }
  })

  test('may be answered by onError, which gets the request', async () => {
    const client = await serveOne(failing.throws as () => Response, {
      onError: (error, request) => new Response(`${(error as Error).message} at ${request?.url}`, { status: 503 }),
    })
    await client.send(get('/x'))
    const { status, body } = await client.response()
    expect([status, body.toString()]).toEqual([503, 'secret detail at http://test/x'])
  })

  test('is answered 500 when onError fails too', async () => {
    const print = spyOn(console, 'error').mockImplementation(() => {})
    try {
      const client = await serveOne(failing.throws as () => Response, {
        onError: () => {
          throw new Error('again')
        },
      })
      await client.send(get())
      expect((await client.response()).status).toBe(500)
      expect(print).toHaveBeenCalledTimes(1)
    } finally {
      print.mockRestore()
    }
  })

  test('is answered 500 when what onError returns cannot be sent', async () => {
    const client = await serveOne(failing.throws as () => Response, {
      onError: () => new Response(Bun.file('/nonexistent/file')),
    })
    await client.send(get())
    expect((await client.response()).status).toBe(500)
    await client.end()
  })

  test('is printed when nobody listens', async () => {
    const print = spyOn(console, 'error').mockImplementation(() => {})
    try {
      const client = await serveOne(failing.throws as () => Response)
      await client.send(get())
      await client.response()
      expect(print).toHaveBeenCalledWith(failure)
    } finally {
      print.mockRestore()
    }
  })
})

describe('malformed input', () => {
  test.each([
    ['GET / HTTP/1.1\r\n\r\n', 400],
    ['nonsense\r\n\r\n', 400],
    ['GET / HTTP/1.1\nHost: a\n\n', 400],
    ['GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', 501],
    ['GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n', 417],
    [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}`, 431],
    [`GET /${'x'.repeat(20_000)}`, 414],
    ['GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n', 400],
  ])('%j is answered with %d and the connection ends', async (text, status) => {
    let called = false
    const client = await serveOne(() => {
      called = true
      return new Response()
    })
    await client.send(text)
    const response = await client.response()
    expect(response.status).toBe(status)
    expect(response.headers.get('connection')).toBe('close')
    await client.end()
    expect(called).toBe(false)
  })

  test('after good requests is answered after their responses', async () => {
    const client = await serveOne(async () => {
      await Bun.sleep(1)
      return new Response('good')
    })
    await client.send(`${get()}${get()}bad\r\n\r\n`)
    expect((await client.response()).body.toString()).toBe('good')
    expect((await client.response()).body.toString()).toBe('good')
    expect((await client.response()).status).toBe(400)
    await client.end()
  })
})

describe('a client that goes away', () => {
  test('fires the abort signal of the request under way, and of no other', async () => {
    const signals: AbortSignal[] = []
    const { server, port } = serve((request) => {
      signals.push(request.signal)
      return new URL(request.url).pathname === '/wait' ? new Promise(() => {}) : new Response('x')
    })
    const client = await connect(port)
    await client.send(get('/1'))
    await client.response()
    await client.send(get('/wait'))
    while (server.requests < 2) await Bun.sleep(1)
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false])
    client.close()
    while (server.connections > 0) await Bun.sleep(1)
    expect(signals.map((signal) => signal.aborted)).toEqual([false, true])
    expect(signals[1]?.reason).toMatchObject({ code: 'CLIENT_GONE' })
  })

  test('aborts what the handler fetches with the signal', async () => {
    const upstream = serve(() => new Promise(() => {}))
    const outcome = Promise.withResolvers<unknown>()
    const { port } = serve(async (request) => {
      await fetch(`http://127.0.0.1:${upstream.port}/`, { signal: request.signal }).catch(outcome.resolve)
      return new Response('nobody reads this')
    })
    const client = await connect(port)
    await client.send(get())
    while (upstream.server.requests === 0) await Bun.sleep(1)
    client.close()
    expect(await outcome.promise).toBeInstanceOf(Error)
    while (upstream.server.connections > 0) await Bun.sleep(1)
  })

  test('has a late response thrown away, its stream cancelled', async () => {
    const gate = Promise.withResolvers<void>()
    const cancelled = Promise.withResolvers<void>()
    const { server, port } = serve(async () => {
      await gate.promise
      return new Response(new ReadableStream({ cancel: () => cancelled.resolve() }))
    })
    const client = await connect(port)
    await client.send(get())
    while (server.requests === 0) await Bun.sleep(1)
    client.close()
    while (server.connections > 0) await Bun.sleep(1)
    gate.resolve()
    await cancelled.promise
  })
})

describe('timeouts', () => {
  test('an idle connection is closed without a word', async () => {
    const client = await serveOne(() => new Response('x'), { idleTimeout: 0.1 })
    await client.send(get())
    await client.response()
    await client.end()
    expect(client.received.length).toBe(0)
  })

  test('a head that does not end is answered with 408', async () => {
    const client = await serveOne(() => new Response('x'), { headTimeout: 0.1 })
    await client.send('GET / HTTP/1.1\r\nHost: a\r\n')
    const drip = setInterval(() => void client.send('X: y\r\n'), 20)
    expect((await client.response()).status).toBe(408)
    clearInterval(drip)
    await client.end()
  })

  test('a body that does not come is answered with 408, or ends a connection that streams it', async () => {
    const { port } = serve(async (request) => new Response(await request.bytes()), {
      idleTimeout: 0.1,
      onError: () => undefined,
    })
    const small = await connect(port)
    await small.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab')
    expect((await small.response()).status).toBe(408)
    await small.end()
    const large = await connect(port)
    await large.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nab')
    await large.end()
  })

  test('a client that does not read its response is cut off', async () => {
    const { server, port } = serve(() => new Response(new Uint8Array(50_000_000)), { idleTimeout: 0.1 })
    const client = await connect(port)
    client.pause()
    await client.send(get())
    while (server.requests === 0) await Bun.sleep(1)
    while (server.connections > 0) await Bun.sleep(5)
  })

  test('a handler may take longer than the idle timeout', async () => {
    const client = await serveOne(
      async () => {
        await Bun.sleep(400)
        return new Response('slow')
      },
      { idleTimeout: 0.1 },
    )
    await client.send(get())
    expect((await client.response()).body.toString()).toBe('slow')
  })
})
