import { describe, expect, test } from 'bun:test'
import { HttpServerError } from '@xoffload/proxy-adapters/bun'
import { connect, get, serve, serveOne } from './server.ts'

const pathOf = (request: Request) => new URL(request.url).pathname

describe('a connection', () => {
  test('serves one request after the other', async () => {
    const { server, port } = serve((request) => new Response(`you asked for ${request.url}`))
    const client = await connect(port)
    for (const path of ['/a', '/b?c=d', '/e']) {
      await client.send(get(path))
      const { status, body, headers } = await client.response()
      expect(status).toBe(200)
      expect(body.toString()).toBe(`you asked for http://test${path}`)
      expect(headers.get('connection')).toBeUndefined()
    }
    expect(server.requests).toBe(3)
    expect(server.connections).toBe(1)
  })

  test('serves pipelined requests in order, each after the response before it', async () => {
    const events: string[] = []
    const client = await serveOne(async (request) => {
      const path = pathOf(request)
      events.push(`begin ${path}`)
      // Later requests would be answered first if they were handled at the same time.
      if (path === '/0') await Bun.sleep(20)
      events.push(`end ${path}`)
      return new Response(path)
    })
    const paths = Array.from({ length: 20 }, (_, index) => `/${index}`)
    await client.send(paths.map((path) => get(path)).join(''))
    for (const path of paths) expect((await client.response()).body.toString()).toBe(path)
    expect(events).toEqual(paths.flatMap((path) => [`begin ${path}`, `end ${path}`]))
  })

  test('serves thousands of pipelined requests with a synchronous handler', async () => {
    const client = await serveOne((request) => new Response(pathOf(request)))
    const count = 5000
    await client.send(Array.from({ length: count }, (_, index) => get(`/${index}`)).join(''))
    for (let index = 0; index < count; index++) expect((await client.response()).body.toString()).toBe(`/${index}`)
  })

  test('accepts a head in single bytes', async () => {
    const client = await serveOne((request) => new Response(request.headers.get('x-last')))
    for (const byte of get('/', 'X-Last: yes\r\n')) await client.send(byte)
    expect((await client.response()).body.toString()).toBe('yes')
  })

  test('closes after Connection: close of either side', async () => {
    const { port } = serve(
      (request) => new Response('x', { headers: pathOf(request) === '/last' ? { connection: 'close' } : {} }),
    )
    for (const request of [get('/', 'Connection: close\r\n'), get('/last')]) {
      const client = await connect(port)
      await client.send(request)
      expect((await client.response()).headers.get('connection')).toBe('close')
      await client.end()
    }
  })

  test('answers a client that has ended its half, pipelined requests included', async () => {
    const client = await serveOne(async (request) => {
      await Bun.sleep(5)
      return new Response(pathOf(request))
    })
    await client.send(get('/1') + get('/2'))
    client.halfClose()
    expect((await client.response()).body.toString()).toBe('/1')
    expect((await client.response()).body.toString()).toBe('/2')
    await client.end()
  })

  test('sends everything to a client that ends its half while the last response is on its way', async () => {
    const size = 3_000_000
    const { server, port } = serve(() => new Response(new Uint8Array(size)))
    const client = await connect(port)
    client.pause()
    await client.send(get('/', 'Connection: close\r\n'))
    while (server.requests === 0) await Bun.sleep(1)
    client.halfClose()
    await Bun.sleep(20)
    client.resume()
    expect((await client.response()).body.length).toBe(size)
    await client.end()
    client.close()
    while (server.connections > 0) await Bun.sleep(1)
  })

  test('closes silently when the client ends without a request, or in the middle of a head', async () => {
    const { server, port } = serve(() => new Response())
    for (const text of ['', 'GET / HT']) {
      const client = await connect(port)
      await client.send(text)
      client.halfClose()
      await client.end()
      expect(client.received.toString()).toBe('')
    }
    expect(server.requests).toBe(0)
  })

  test('speaks HTTP/1.0', async () => {
    const { port } = serve(() => new Response('x'))
    const closing = await connect(port)
    await closing.send('GET / HTTP/1.0\r\n\r\n')
    expect((await closing.response()).headers.get('connection')).toBe('close')
    await closing.end()
    const keeping = await connect(port)
    for (let turn = 0; turn < 2; turn++) {
      await keeping.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
      expect((await keeping.response()).headers.get('connection')).toBe('keep-alive')
    }
  })
})

describe('the request', () => {
  test('has method, headers and URL', async () => {
    const client = await serveOne((request) =>
      Response.json({
        method: request.method,
        url: request.url,
        real: request instanceof Request,
        headers: [...request.headers],
      }),
    )
    await client.send('DELETE /a%20b?c HTTP/1.1\r\nHost: example.com:81\r\nX-A: 1\r\nx-a: 2\r\nX-B: caf\xe9\r\n\r\n')
    expect(JSON.parse((await client.response()).body.toString())).toEqual({
      method: 'DELETE',
      url: 'http://example.com:81/a%20b?c',
      real: true,
      headers: [
        ['host', 'example.com:81'],
        ['x-a', '1, 2'],
        ['x-b', 'café'],
      ],
    })
  })

  test('takes the authority from an absolute target, or from the socket when there is none', async () => {
    const { port } = serve((request) => new Response(request.url))
    const client = await connect(port)
    await client.send('GET http://other:90/x HTTP/1.1\r\nHost: test\r\n\r\n')
    expect((await client.response()).body.toString()).toBe('http://other:90/x')
    await client.send('GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    expect((await client.response()).body.toString()).toBe(`http://127.0.0.1:${port}/x`)
  })

  test('does not inherit the headers of the request before it', async () => {
    const client = await serveOne((request) => {
      const seen = request.headers.get('x-seen') ?? 'nothing'
      request.headers.set('x-seen', 'changed by the handler')
      return new Response(seen)
    })
    for (const [fields, seen] of [
      ['X-Seen: 1\r\n', '1'],
      ['X-Seen: 1\r\n', '1'],
      ['X-Seen: 2\r\n', '2'],
      ['', 'nothing'],
      ['', 'nothing'],
    ] as const) {
      await client.send(get('/', fields))
      expect((await client.response()).body.toString()).toBe(seen)
    }
  })

  test('comes with the client address', async () => {
    const client = await serveOne((_, { client: { address, port }, adopted }) =>
      Response.json({ address, port: port > 0, adopted }),
    )
    await client.send(get())
    expect(JSON.parse((await client.response()).body.toString())).toEqual({
      address: '127.0.0.1',
      port: true,
      adopted: false,
    })
  })

  test('with a method that Request would change is answered 501', async () => {
    for (const method of ['FOO', 'get', 'TRACE']) {
      const client = await serveOne(() => new Response('served'))
      await client.send(`${method} / HTTP/1.1\r\nHost: test\r\n\r\n`)
      expect((await client.response()).status).toBe(501)
      await client.end()
    }
  })
})

describe('the response', () => {
  test('to HEAD has the head of GET and no body', async () => {
    const { port } = serve((request) =>
      pathOf(request) === '/declared'
        ? new Response(null, { headers: { 'content-length': '77' } })
        : new Response('twelve bytes'),
    )
    const client = await connect(port)
    await client.send('HEAD / HTTP/1.1\r\nHost: test\r\n\r\nHEAD /declared HTTP/1.1\r\nHost: test\r\n\r\n')
    expect((await client.response(true)).headers.get('content-length')).toBe('12')
    expect((await client.response(true)).headers.get('content-length')).toBe('77')
    expect(client.received.length).toBe(0)
  })

  test.each([204, 304])('of status %d has neither body nor length', async (status) => {
    const client = await serveOne(() => new Response(null, { status, headers: { etag: '"x"' } }))
    await client.send(get())
    const { headers } = await client.response()
    expect(headers.get('etag')).toBe('"x"')
    expect(headers.has('content-length')).toBe(false)
    expect(headers.has('transfer-encoding')).toBe(false)
    await client.send(get())
    expect((await client.response()).status).toBe(status)
  })

  test('keeps cookies apart and cannot be split by a status text', async () => {
    const headers = new Headers([
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
      ['x', 'é'],
    ])
    const client = await serveOne(() => new Response('x', { headers, status: 299, statusText: 'a\r\nInjected: yes' }))
    await client.send(get())
    const { head } = await client.response()
    expect(head).toStartWith('HTTP/1.1 299 \r\n')
    expect(head).toContain('set-cookie: a=1\r\nset-cookie: b=2\r\n')
    expect(head).toContain('x: \xe9\r\n')
    expect(head).not.toContain('Injected')
  })

  test('has the framing of the server, whatever the handler says', async () => {
    const client = await serveOne(
      () =>
        new Response('abc', { headers: { 'content-length': '99', 'transfer-encoding': 'chunked', 'keep-alive': 'x' } }),
    )
    await client.send(get())
    const { headers, body } = await client.response()
    expect(body.toString()).toBe('abc')
    expect([...headers.keys()].sort()).toEqual(['content-length', 'content-type', 'date'])
  })

  test('has a Date of now, or the one of the handler', async () => {
    const client = await serveOne(
      (request) => new Response('x', pathOf(request) === '/own' ? { headers: { date: 'yesterday' } } : {}),
    )
    await client.send(get() + get('/own'))
    const date = (await client.response()).headers.get('date') ?? ''
    expect(new Date(date).toUTCString()).toBe(date)
    expect(Math.abs(Date.now() - Date.parse(date))).toBeLessThan(2500)
    expect((await client.response()).head.match(/date: /gi)).toHaveLength(1)
  })

  test.each([1, 100, 4096, 65_536, 131_072, 131_073, 1_048_576, 5_000_000])(
    'of %d bytes arrives whole',
    async (size) => {
      // Not a power of two: an offset that is wrong by a buffer's size would show.
      const bytes = Uint8Array.from({ length: size }, (_, index) => index % 251)
      const client = await serveOne(() => new Response(bytes))
      for (let turn = 0; turn < 2; turn++) {
        await client.send(get())
        expect((await client.response()).body.equals(bytes)).toBe(true)
      }
    },
  )

  test.each([
    ['ASCII', 'a'],
    ['Latin-1', 'é'],
    ['UTF-16', '€'],
    ['surrogate pairs', '😀'],
    ['a byte order mark', '\ufeff'],
  ])('of a string of %s is UTF-8 text, small or large', async (_, character) => {
    const client = await serveOne((request) => new Response(character.repeat(Number(pathOf(request).slice(1)))))
    for (const count of [10, 4096, 200_000]) {
      await client.send(get(`/${count}`))
      const { body, headers } = await client.response()
      expect(body.equals(Buffer.from(character.repeat(count), 'utf8'))).toBe(true)
      if (count < 100_000) expect(headers.get('content-type')).toBe('text/plain;charset=utf-8')
    }
  })

  test('of an ASCII string in 16-bit memory has the right length', async () => {
    // Cut out of a wide string: it may keep two bytes a character, which all shrink to one.
    const wide = `€${'a'.repeat(300_000)}`
    const client = await serveOne(() => new Response(wide.slice(1)))
    await client.send(get())
    expect((await client.response()).body.toString()).toBe('a'.repeat(300_000))
  })

  test('of bytes without a type is binary when it looks binary', async () => {
    const client = await serveOne((request) => {
      const bytes = new Uint8Array(Number(pathOf(request).slice(1)))
      return new Response(bytes.fill(0xff, 0, 1))
    })
    for (const size of [16, 10_000, 300_000]) {
      await client.send(get(`/${size}`))
      expect((await client.response()).headers.get('content-type')).toBe('application/octet-stream')
    }
  })

  test('may have an empty body of any kind', async () => {
    const bodies = [
      null,
      undefined,
      '',
      new Uint8Array(0),
      new Blob([]),
      new ReadableStream({ start: (controller) => controller.close() }),
    ]
    const client = await serveOne((request) => new Response(bodies[Number(pathOf(request).slice(1))]))
    for (const index of bodies.keys()) {
      await client.send(get(`/${index}`))
      expect((await client.response()).body.length).toBe(0)
    }
  })

  test('may be a Blob, form data, search parameters, JSON, or a clone', async () => {
    const bodies: Record<string, () => Response> = {
      '/blob': () => new Response(new Blob(['ab', 'c'], { type: 'image/x' })),
      '/search': () => new Response(new URLSearchParams('a=b')),
      '/json': () => Response.json({ a: 1 }),
      '/clone': () => new Response('abc').clone() as Response,
      '/status-text': () => new Response('abc', { statusText: 'Fine' }),
    }
    const client = await serveOne((request) => bodies[pathOf(request)]?.() ?? new Response(null, { status: 404 }))
    const results: string[] = []
    for (const path of Object.keys(bodies)) {
      await client.send(get(path))
      const { body, headers, reason } = await client.response()
      results.push(`${reason} ${headers.get('content-type')} ${body}`)
    }
    expect(results).toEqual([
      'OK image/x abc',
      'OK application/x-www-form-urlencoded;charset=UTF-8 a=b',
      'OK application/json;charset=utf-8 {"a":1}',
      'OK text/plain;charset=utf-8 abc',
      'Fine text/plain;charset=utf-8 abc',
    ])
  })
})

describe('stop', () => {
  test('lets responses under way finish and closes idle connections', async () => {
    const release = Promise.withResolvers<void>()
    const { server, port } = serve(async () => {
      await release.promise
      return new Response('finished')
    })
    const idle = await connect(port)
    const busy = await connect(port)
    await busy.send(get())
    while (server.requests === 0) await Bun.sleep(1)
    const stopped = server.stop()
    await idle.end()
    expect(busy.ended).toBe(false)
    release.resolve()
    const { body, headers } = await busy.response()
    expect(body.toString()).toBe('finished')
    expect(headers.get('connection')).toBe('close')
    await busy.end()
    busy.close()
    idle.close()
    await stopped
    expect(server.connections).toBe(0)
    expect(() => server.listen()).toThrow(HttpServerError)
  })

  test('by force closes everything and fires the abort signals', async () => {
    const aborted = Promise.withResolvers<void>()
    const { server, port } = serve((request) => {
      request.signal.addEventListener('abort', () => aborted.resolve())
      return new Promise(() => {})
    })
    const client = await connect(port)
    await client.send(get())
    while (server.requests === 0) await Bun.sleep(1)
    await server.stop(true)
    await aborted.promise
    await client.end()
  })
})
