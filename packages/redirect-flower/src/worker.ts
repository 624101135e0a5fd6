/**
 * The thread that makes the blocking system calls of a redirector: the kernel carries a request out while it is being sent, and
 * with hardware that takes up to milliseconds each.
 */
import { LinuxError, TcSocket } from '@xoffload/linux'
import type { Exchange } from './kernel.ts'
import type { WorkerAnswer, WorkerRequest } from './worker-messages.ts'

declare const self: {
  onmessage: (event: { readonly data: WorkerRequest }) => void
  postMessage(answer: WorkerAnswer): void
}

/** How much of a dump is read at a time: 16 datagrams of up to 32 KiB. */
const DUMP_PART = 16
const NOTHING: Exchange = { datagrams: [], overflow: false }

let requests: TcSocket | undefined
let dumps: readonly TcSocket[] = []

self.onmessage = ({ data }) => {
  try {
    self.postMessage({ id: data.id, ...answer(data) })
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error
    self.postMessage({ id: data.id, call: error.call, errno: error.errno })
  }
}

function answer(request: WorkerRequest): Exchange {
  switch (request.kind) {
    case 'start':
      requests = TcSocket.of(request.requests)
      dumps = request.dumps.map((fd) => TcSocket.of(fd))
      return NOTHING
    case 'stop':
      requests = undefined
      dumps = []
      return NOTHING
    case 'exchange':
      started(requests).send(request.messages)
      return receive(started(requests), Number.POSITIVE_INFINITY)
    case 'dump':
      started(dumps[request.socket]).send(request.message)
      return receive(started(dumps[request.socket]), DUMP_PART)
    case 'more':
      return receive(started(dumps[request.socket]), DUMP_PART)
  }
}

/** Everything is there already: the kernel answers while it is being asked. */
function receive(socket: TcSocket, maximum: number): Exchange {
  const datagrams: Uint8Array[] = []
  let overflow = false
  while (datagrams.length < maximum) {
    const datagram = socket.receive()
    if (datagram === undefined) break
    if (datagram === 'overflow') overflow = true
    else datagrams.push(datagram)
  }
  return { datagrams, overflow }
}

function started(socket: TcSocket | undefined): TcSocket {
  if (socket === undefined) throw new LinuxError('worker', 'EBADF', 'it was not started')
  return socket
}
