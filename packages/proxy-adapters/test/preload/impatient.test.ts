// Processes of a server program that do not wait for a busy agent, and one that the agent has not waited for.
import { afterEach, expect, test } from 'bun:test'
import { closeFd, tryReceive, trySend, type UnixMessage } from '@xoffload/linux'
import { PreloadServer, type PreloadServerOptions } from '@xoffload/proxy-adapters/preload'
import { libc } from '../../../linux/src/ffi/libc.ts'
import { encodeUnixAddress } from '../../../linux/src/unix/address.ts'
import { establishedSocket } from '../established-socket.ts'
import { afterTest, cleanUp, eventually, socketPath } from './support.ts'

afterEach(cleanUp)

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
// preload/src/protocol.h
const [HELLO, ADOPTED, END] = [1, 2, 19]
const VERSION = 1

async function open(options: Partial<PreloadServerOptions> = {}) {
  const errors: unknown[] = []
  const socket = socketPath()
  const server = await PreloadServer.open({ socket, onError: (error) => errors.push(error), ...options })
  afterTest(() => server.close())
  return { server, socket, errors }
}

/** A message as a shim sends it: without payload, about a connection with a small number. */
function say(fd: number, type: number, connection: number, value: number): void {
  trySend(fd, new Uint8Array(new Uint32Array([type, 0, connection, 0, value, 0]).buffer), [])
}

/** Connects to the agent and says hello; the descriptor. */
function sayHello(path: string): number {
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
  const address = encodeUnixAddress(path)
  if (libc.connect(fd, address, address.length) !== 0) throw new Error(`nobody listens at ${path}`)
  say(fd, HELLO, 0, VERSION)
  return fd
}

async function receive(fd: number): Promise<UnixMessage> {
  let message = tryReceive(fd)
  await eventually(() => {
    if (message === 'nothing') message = tryReceive(fd)
    return message !== 'nothing'
  })
  return message as UnixMessage
}

test('a process that has hung up before it was welcomed is no error', async () => {
  const counts: number[] = []
  const { server, socket, errors } = await open({ onProcesses: (count) => counts.push(count) })
  closeFd(sayHello(socket))
  const patient = sayHello(socket)
  afterTest(() => closeFd(patient))
  await eventually(() => server.processes.length === 1)
  expect([errors, counts]).toEqual([[], [1]])
})

test('a process that tells too late that it has taken a connection is told to end it', async () => {
  const { server, socket } = await open({ adoptTimeout: 1 })
  const channel = sayHello(socket)
  afterTest(() => closeFd(channel))
  const [mailbox = -1, returns = -1] = (await receive(channel)).fds
  const { fd, client } = await establishedSocket()
  afterTest(() => client.close())
  const { taken } = server.adopt(fd)
  const item = await receive(mailbox)
  afterTest(() => [mailbox, returns, ...item.fds].forEach(closeFd))
  await expect(taken).rejects.toThrow(/did not accept the connection in time/)
  say(channel, ADOPTED, 1, item.fds[0] ?? -1)
  const order = new Uint32Array((await receive(channel)).bytes.slice().buffer)
  expect([...order.subarray(0, 4)]).toEqual([END, item.fds[0] ?? -1, 1, 0])
})
