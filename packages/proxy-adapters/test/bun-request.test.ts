import { describe, expect, test } from 'bun:test'
import { get, serveOne } from './server.ts'

/** Targets with every visible ASCII character in path and query, and those that a URL parser rewrites. */
const visible = Array.from({ length: 0x7e - 0x20 }, (_, index) => String.fromCharCode(0x21 + index)).filter(
  (c) => c !== '#',
)
const targets = [
  ...visible.flatMap((each) => [`/a${each}b`, `/${each}`, `/a?b${each}c`]),
  ...[
    '/',
    '//a/b',
    '/a//b',
    '/a/../b',
    '/a/./b',
    '/../..',
    '/a..b',
    '/a.b',
    '/a/.b',
    '/a/..;/b',
    '/%2e%2e/a',
    '/%zz',
    '/%C3%A9',
  ],
]

describe('requests of one connection', () => {
  test.each(['test', 'TEST:80', '127.1:8080', '[::1]:80'])(
    'have the URL that the standard gives them at %s',
    async (host) => {
      const client = await serveOne((request) => new Response(request.url))
      let compared = 0
      for (const target of targets) {
        await client.send(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
        const { status, body } = await client.response()
        expect(status).toBe(200)
        expect(body.toString()).toBe(new URL(`http://${host}${target}`).href)
        compared++
      }
      expect(compared).toBe(targets.length)
    },
  )

  test('do not share what a handler changes, and keep their own method', async () => {
    const seen: string[] = []
    const client = await serveOne((request) => {
      seen.push(`${request.method} ${request.url} ${request.headers.get('x-a')}`)
      request.headers.set('x-a', 'changed')
      return new Response('ok')
    })
    const request = (method: string, path: string) => `${method} ${path} HTTP/1.1\r\nHost: test\r\nX-A: 1\r\n\r\n`
    await client.send(request('GET', '/1') + request('GET', '/2') + request('DELETE', '/3') + request('GET', '/4'))
    for (let turn = 0; turn < 4; turn++) await client.response()
    expect(seen).toEqual([
      'GET http://test/1 1',
      'GET http://test/2 1',
      'DELETE http://test/3 1',
      'GET http://test/4 1',
    ])
  })

  test('have a signal that fires for the one whose client left, not for those before', async () => {
    const signals: AbortSignal[] = []
    const aborted = Promise.withResolvers<void>()
    const client = await serveOne((request) => {
      signals.push(request.signal)
      if (signals.length < 3) return new Response('ok')
      request.signal.addEventListener('abort', () => aborted.resolve())
      return new Promise<Response>(() => undefined)
    })
    await client.send(get().repeat(3))
    await client.response()
    await client.response()
    client.close()
    await aborted.promise
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false, true])
  })
})
