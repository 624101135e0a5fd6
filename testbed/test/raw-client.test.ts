import { afterEach, expect, test } from 'bun:test'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

const program = join(import.meta.dir, '../src/deployment/raw-client.ts')
const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A server on loopback that answers what comes first with `answer`. */
async function serve(answer: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', () => answer(socket))
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

test.each([
  ['read', 'a FIN', undefined],
  ['read', 'an RST', 'reset by the peer'],
  ['half-close', 'a FIN', undefined],
  ['half-close', 'an RST', 'reset by the peer'],
])('the raw client that is to %s tells %s', async (mode, end, error) => {
  const port = await serve((socket) => {
    socket.write('hello', () => (end === 'a FIN' ? socket.end() : socket.resetAndDestroy()))
  })
  const child = Bun.spawn([process.execPath, program, '127.0.0.1', `${port}`, mode, btoa('x')], { stdout: 'pipe' })
  const report = JSON.parse(await child.stdout.text())
  expect(report.error).toBe(error)
  // An RST may overtake what was said.
  if (error === undefined) expect(report.received).toBe('hello')
})
