// How a relayed connection ends for its client when that has closed its half, as it would at the server itself.
import { afterEach, expect, test } from 'bun:test'
import type { Socket, TCPSocketListener } from 'bun'
import { Relay } from '../../src/gateway/relay.ts'

const cleanup: (() => void)[] = []
afterEach(() => {
  for (const close of cleanup.splice(0).reverse()) close()
})

/** More than all buffers between server and client hold while the client does not read. */
const LONG = 64 * 1024 * 1024

/** A server, `answer` called when its client has said all. */
function serve(answer: (socket: Socket<number>) => void): TCPSocketListener<number> {
  const listener = Bun.listen<number>({
    hostname: '127.0.0.1',
    port: 0,
    allowHalfOpen: true,
    socket: { data() {}, end: answer, drain: answer, open: (socket) => void Object.assign(socket, { data: 0 }) },
  })
  cleanup.push(() => listener.stop(true))
  return listener
}

/** A client whose connection is relayed to the server. It sends `request` and its FIN at once; `ended` is how many bytes came, and what then. */
async function halfClose(server: TCPSocketListener<number>, request: string, read: Promise<void> = Promise.resolve()) {
  const ended = Promise.withResolvers<{ length: number; by: 'FIN' | 'RST' }>()
  const gateway = Bun.listen<Relay>({
    hostname: '127.0.0.1',
    port: 0,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.pause()
        const owner = {
          connected() {},
          moved() {},
          unreachable: (): never => {
            throw new Error('the server cannot be reached')
          },
          finished: (broken: boolean) => (broken ? socket.terminate() : socket.end()),
        }
        socket.data = Relay.start(owner, socket, { address: '127.0.0.1', port: server.port }, new Uint8Array(), false)
      },
      data: (socket, chunk) => socket.data.clientData(chunk),
      drain: (socket) => socket.data.clientDrain(),
      end: (socket) => socket.data.clientEnd(),
    },
  })
  cleanup.push(() => gateway.stop(true))
  let length = 0
  const client = await Bun.connect({
    hostname: '127.0.0.1',
    port: gateway.port,
    allowHalfOpen: true,
    socket: {
      data: (_, chunk) => {
        length += chunk.length
      },
      close: (_, error) => ended.resolve({ length, by: error === undefined ? 'FIN' : 'RST' }),
    },
  })
  cleanup.push(() => client.terminate())
  client.pause()
  client.write(request)
  client.shutdown()
  await read
  client.resume()
  return await ended.promise
}

test('the client gets a FIN when the server closes because the client has', async () => {
  const server = serve((socket) => socket.end())
  expect(await halfClose(server, 'GET /')).toEqual({ length: 0, by: 'FIN' })
})

test('a client that reads late gets all that the server says after the FIN, and then a FIN', async () => {
  const written = Promise.withResolvers<void>()
  const answer = new Uint8Array(LONG)
  const server = serve((socket) => {
    socket.data += Math.max(socket.write(answer.subarray(socket.data)), 0)
    // No more fits between them: the relay has to wait for the client.
    if (socket.data < LONG) written.resolve()
    else socket.end()
  })
  expect(await halfClose(server, 'GET /', written.promise)).toEqual({ length: LONG, by: 'FIN' })
})

test('the client gets an RST when the server resets instead', async () => {
  const server = serve((socket) => socket.terminate())
  expect(await halfClose(server, 'GET /')).toEqual({ length: 0, by: 'RST' })
})
