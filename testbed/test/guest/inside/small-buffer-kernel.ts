// A kernel whose answers do not all find room: for tests inside the guest.
import { netlinkMessages, TcSocket } from '@xoffload/linux'
import { type Exchange, type FlowerKernel, linuxKernel } from '@xoffload/redirect-flower'

const NLMSG_DONE = 3

/** The smallest receive buffer that the kernel allows holds a few answers, and an exchange has many. */
export function smallBufferKernel(): FlowerKernel {
  return {
    ...linuxKernel,
    connect() {
      const requests = TcSocket.open({ receiveBuffer: 1 })
      const dumps = TcSocket.open()
      return {
        async exchange(messages) {
          requests.send(messages)
          return received(requests)
        },
        async *dump(message) {
          dumps.send(message)
          for (;;) {
            const { datagrams } = received(dumps)
            yield* datagrams
            if (datagrams.some(isLast)) return
          }
        },
        sourceOf: () => undefined,
        async close() {
          requests.close()
          dumps.close()
        },
      }
    },
  }
}

function received(socket: TcSocket): Exchange {
  const datagrams: Uint8Array[] = []
  let overflow = false
  for (;;) {
    const datagram = socket.receive()
    if (datagram === undefined) return { datagrams, overflow }
    if (datagram === 'overflow') overflow = true
    else datagrams.push(datagram)
  }
}

function isLast(datagram: Uint8Array): boolean {
  return [...netlinkMessages(datagram)].some(({ type }) => type === NLMSG_DONE)
}
