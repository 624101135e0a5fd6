// The same on Bun.serve.
const server = Bun.serve({
  hostname: process.argv[2] ?? '127.0.0.1',
  port: 0,
  idleTimeout: 60,
  async fetch(request, self): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === '/who') {
      const { address, port } = self.requestIP(request) ?? { address: '', port: 0 }
      return new Response(`${address} ${port} ${self.port}`)
    }
    if (pathname === '/stream') {
      return new Response(
        (async function* () {
          yield 'first '
          await Bun.sleep(20)
          yield 'second'
        })(),
      )
    }
    if (pathname === '/slow') {
      await Bun.sleep(50)
      return new Response('slow')
    }
    if (pathname === '/close') return new Response('bye', { headers: { connection: 'close' } })
    return new Response(`${request.method} ${pathname} ${await request.text()}`)
  },
})
process.stdout.write(`${server.port}\n`)
