import { expect, test } from 'bun:test'
import { closeFd, LinuxError, MemoryFile, sendMore } from '@xoffload/linux'

const ramp = new Uint8Array(3 * 1024 * 1024).map((_, index) => index % 251)

/** A connected pair; the client does not read before it is told to. */
async function pair() {
  const accepted = Promise.withResolvers<import('bun').Socket>()
  const listener = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: { open: (socket) => accepted.resolve(socket), data() {} },
  })
  const chunks: Buffer[] = []
  const ended = Promise.withResolvers<Buffer>()
  const client = await Bun.connect({
    hostname: '127.0.0.1',
    port: listener.port,
    socket: {
      open: (socket) => socket.pause(),
      data: (_socket, chunk) => void chunks.push(chunk),
      close: () => ended.resolve(Buffer.concat(chunks)),
    },
  })
  const server = await accepted.promise
  listener.stop()
  return { server, fd: (server as unknown as { fd: number }).fd, client, received: ended.promise }
}

test('head and file arrive as one stream, also when the socket is full in between', async () => {
  const { server, fd, client, received } = await pair()
  const file = new MemoryFile(ramp)
  const head = new TextEncoder().encode('head')
  expect(sendMore(fd, head)).toBe(4)
  let offset = file.sendTo(fd, 0)
  expect(offset).toBeGreaterThan(0)
  while (offset < file.length) {
    const sent = file.sendTo(fd, offset)
    if (sent === 0) {
      // Full: only now does the client read.
      client.resume()
      await Bun.sleep(1)
    }
    offset += sent
  }
  client.resume()
  server.end()
  expect(Buffer.compare(await received, Buffer.concat([head, ramp]))).toBe(0)
})

test('a socket that is gone is an error with its name', () => {
  const file = new MemoryFile(ramp)
  expect(() => file.sendTo(-1, 0)).toThrow(LinuxError)
  expect(() => sendMore(-1, ramp)).toThrow('EBADF')
  expect(() => closeFd(-1)).toThrow('EBADF')
})
