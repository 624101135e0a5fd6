import { expect, test } from 'bun:test'
import { connect, serve } from './server.ts'

const responses: Record<string, () => Response> = {
  '/text': () => new Response('hello'),
  '/bytes': () => new Response(new Uint8Array([0, 1, 2])),
  '/large': () => new Response(new Uint8Array(300_000)),
  '/large-text': () => new Response('a'.repeat(300_000)),
  '/json': () => Response.json({ a: 1 }),
  '/empty': () => new Response(''),
  '/nothing': () => new Response(null),
  '/no-content': () => new Response(null, { status: 204 }),
  '/not-modified': () => new Response(null, { status: 304 }),
  '/not-found': () => new Response('not here', { status: 404 }),
  '/redirect': () => Response.redirect('http://example.com/', 302),
  '/headers': () =>
    new Response('x', {
      headers: [
        ['x-a', '1'],
        ['x-a', '2'],
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ],
    }),
  '/typed': () => new Response('<p>', { headers: { 'content-type': 'text/html' } }),
}

/** Start line and body as they are, fields in lower case and in order of their names. */
function canonical(message: string): string {
  const end = message.indexOf('\r\n\r\n')
  const [start, ...fields] = message.slice(0, end).split('\r\n')
  const lower = fields.map((field) => field.replace(/^[^:]+/, (name) => name.toLowerCase())).sort()
  return [start, ...lower, '', message.slice(end + 4)].join('\r\n').replace(/date: [^\r]+/, 'date: now')
}

async function exchange(port: number, request: string): Promise<string> {
  const client = await connect(port)
  await client.send(request)
  client.halfClose()
  await client.end()
  return canonical(client.received.toString('latin1'))
}

test.each(Object.keys(responses))('%s is the same as from Bun.serve', async (path) => {
  const handler = (request: Request) => (responses[new URL(request.url).pathname] as () => Response)()
  const reference = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: handler })
  try {
    const { port } = serve(handler)
    const request = `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`
    // Bun.serve closes without an answer when a client has ended its half: read by length instead.
    const client = await connect(reference.port ?? 0)
    await client.send(request)
    const { head, body } = await client.response()
    expect(await exchange(port, request)).toBe(canonical(head + body.toString('latin1')))
  } finally {
    await reference.stop(true)
  }
})

test('curl understands it: keep-alive, upload, HEAD', async () => {
  const { port } = serve(async (request) => new Response(`${request.method} ${(await request.bytes()).length}`))
  const url = `http://127.0.0.1:${port}/`
  const run = async (...args: string[]) => {
    const curl = Bun.spawn(['curl', '-sS', ...args], {
      stdout: 'pipe',
      stderr: 'pipe',
      stdin: new Uint8Array(3_000_000),
    })
    const [output, errors] = await Promise.all([new Response(curl.stdout).text(), new Response(curl.stderr).text()])
    expect(errors).toBe('')
    return output
  }
  expect(await run('-w', '%{num_connects} ', url, url)).toBe('GET 01 GET 00 ')
  expect(await run('--data-binary', '@-', '-H', 'Expect: 100-continue', url)).toBe('POST 3000000')
  expect(await run('-T', '-', url)).toBe('PUT 3000000')
  expect(await run('-I', url)).toContain('Content-Length: 6')
})
