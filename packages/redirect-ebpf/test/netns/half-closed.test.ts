// A connection whose client has sent its FIN moves to the server: the target's hold keeps what the FIN makes it say until the commit.
import { expect, test } from 'bun:test'
import type { FlowKey } from '@xoffload/core'
import { closeFd, flowOf, freeze, read, restore, takeSnapshot, write } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { Socket } from 'bun'
import { SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork, until } from './network.ts'

/** Longer than the kernel delays an acknowledgement (40 ms). */
const DELAYED_ACKNOWLEDGEMENT_MILLISECONDS = 60
const REQUEST = 'all that the client will ever say'
const ANSWER = 'and the answer'

/** An accepted connection at the gateway, with the request and the client's FIN in its queue. */
async function halfClosedConnection(network: TestNetwork, hostname: string) {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  const open = (socket: Socket) => {
    socket.pause()
    resolve(socket)
  }
  const options = { hostname, port: 8000, allowHalfOpen: true } as const
  const listener = network.gateway.inside(() => Bun.listen({ ...options, socket: { open, data() {} } }))
  let heard = ''
  // Both sides have closed: there is no event for the server's half alone.
  const { promise: ended, resolve: end } = Promise.withResolvers<string>()
  const handlers = {
    data: (_socket: Socket, bytes: Buffer) => {
      heard += bytes.toString()
    },
    close: (_socket: Socket, error?: Error) => end(error === undefined ? heard : error.message),
  }
  const client = await network.client.inside(() => Bun.connect({ ...options, socket: handlers }))
  client.write(REQUEST)
  client.shutdown()
  const service = await promise
  const { fd } = service as unknown as { readonly fd: number }
  return { client, service, fd, ended, stop: () => listener.stop(true) }
}

function readAll(fd: number): { text: string; ended: boolean } {
  const buffer = new Uint8Array(1000)
  let text = ''
  for (;;) {
    const count = read(fd, buffer)
    if (count === undefined || count === 0) return { text, ended: count === 0 }
    text += Buffer.from(buffer.subarray(0, count)).toString()
  }
}

test.each([
  ['IPv4', SERVICE_IPV4],
  ['IPv6', SERVICE_IPV6],
])(
  '%s: the target is silent until the commit; then the client gets its answer and a clean end',
  async (_family, address) => {
    using network = new TestNetwork()
    const [gateway, server] = [new TcRedirector({ device: 'eth0' }), new TcRedirector({ device: 'eth0' })]
    await network.gateway.inside(() => gateway.open())
    await network.server.inside(() => server.open())
    const { client, service, fd, ended, stop } = await halfClosedConnection(network, address)
    const flow: FlowKey = flowOf(fd)
    // The kernel has answered the FIN: from here on everything that the client hears is the target's.
    await Bun.sleep(DELAYED_ACKNOWLEDGEMENT_MILLISECONDS)

    await gateway.put({ action: 'hold', flow })
    await gateway.put({ action: 'hold', flow, silent: true })
    freeze(fd)
    const snapshot = takeSnapshot(fd)
    expect(snapshot.receive.fin).toBe(true)
    const heard = snmp(network.client, 'Tcp', 'InSegs')
    await server.put({ action: 'hold', flow })
    const target = network.server.inside(() => restore(snapshot)).fd
    await until('the acknowledgement of the FIN is held', () => server.statistics().heldEgress > 0n)
    expect(snmp(network.client, 'Tcp', 'InSegs')).toBe(heard)

    await gateway.put({ action: 'steer', flow, target: { mode: 'l2', mac: network.server.mac } })
    await server.remove(flow)
    service.terminate()
    expect(readAll(target)).toEqual({ text: REQUEST, ended: true })
    write(target, Buffer.from(ANSWER))
    closeFd(target)
    expect(await ended).toBe(ANSWER)
    client.end()
    for (const host of [network.client, network.gateway, network.server]) expect(snmp(host, 'Tcp', 'OutRsts')).toBe(0)
    stop()
    await network.gateway.inside(() => gateway.close())
    await network.server.inside(() => server.close())
  },
)
