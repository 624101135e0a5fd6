import { MacAddress } from '@xoffload/core'
import type { NetworkUnderTest } from '@xoffload/core/conformance'
import { LinuxError, PacketSocket, Rtnetlink, type Tap, VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'
import { tcpFrame, withoutVirtioHeader } from '../frames.ts'
import { run, SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork } from '../network.ts'

const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const CLIENT_ADDRESSES = { 4: '10.77.0.77', 6: 'fd77::77' }
const TARGET = MacAddress.parse('02:00:00:00:00:22')
const TUNNEL_ADDRESSES = { 4: '10.77.0.78', 6: 'fd77::78' }

/** A network in namespaces, in which client and target are two ports of the bridge whose frames the suite writes and reads. */
export interface Segment extends Disposable {
  readonly network: TestNetwork
  readonly suite: NetworkUnderTest
  /** Takes away what a redirector that failed its test has left on the gateway's device. */
  readonly clean: () => void
}

/** With `driver`, for native XDP on the gateway's device. */
export function makeSegment({ driver }: { readonly driver: boolean }): Segment {
  using undo = new DisposableStack()
  const network = undo.use(new TestNetwork({ driver }))
  const ports = { client: undo.use(network.addRawPort('client')), target: undo.use(network.addRawPort('target')) }
  // As this host's stack sends: a packet socket's frames take the way out that those of TCP take.
  const stack = undo.use(
    network.gateway.inside(() => {
      using rtnetlink = new Rtnetlink()
      return PacketSocket.open({ device: rtnetlink.link('eth0')?.index ?? 0, ignoreOutgoing: true, snapLength: 64 })
    }),
  )
  for (const address of Object.values(TUNNEL_ADDRESSES)) {
    run('ip', '-n', network.gateway.namespace, 'neigh', 'add', address, 'lladdr', `${TARGET}`, 'dev', 'eth0')
  }
  teachBridge(ports.target)
  const kept = undo.move()
  return {
    network,
    suite: {
      device: network.gateway.mac,
      client: CLIENT,
      clientAddresses: CLIENT_ADDRESSES,
      serviceAddresses: { 4: SERVICE_IPV4, 6: SERVICE_IPV6 },
      target: TARGET,
      tunnelAddresses: TUNNEL_ADDRESSES,
      send: (frame) => ports.client.write(withVirtioHeader(frame)),
      emit: (frame) => emit(stack, frame),
      received: (host) => [...framesOf(ports[host])],
      stackPackets: () => snmp(network.gateway, 'Tcp', 'InSegs') + snmp(network.gateway, 'Ip', 'ReasmReqds'),
      flood: (frame) => flood(network, frame),
    },
    clean: () => clean(network),
    [Symbol.dispose]: () => kept.dispose(),
  }
}

function clean(network: TestNetwork): void {
  const { namespace } = network.gateway
  if (run('ip', '-n', namespace, 'link', 'show', 'eth0').includes('prog/xdp')) {
    for (const mode of ['xdpdrv', 'xdpgeneric']) run('ip', '-n', namespace, 'link', 'set', 'eth0', mode, 'off')
  }
  if (!run('tc', '-n', namespace, 'qdisc', 'show', 'dev', 'eth0').includes('clsact')) return
  run('tc', '-n', namespace, 'qdisc', 'del', 'dev', 'eth0', 'clsact')
}

/** The bridge learns where the target is, and floods nothing that is for it. */
function teachBridge(target: Tap): void {
  const [from, to] = [
    { address: CLIENT_ADDRESSES[4], port: 1 },
    { address: SERVICE_IPV4, port: 1 },
  ]
  target.write(tcpFrame({ source: TARGET, destination: CLIENT, from, to }))
}

/** What a program on the way out drops, send(2) answers with ENOBUFS (net/core/dev.c: NET_XMIT_DROP). */
function emit(stack: PacketSocket, frame: Uint8Array): void {
  try {
    stack.write(frame)
  } catch (error) {
    if (!(error instanceof LinuxError) || error.errno !== 'ENOBUFS') throw error
  }
}

function* framesOf(port: Tap): Generator<Uint8Array> {
  for (let frame = port.read(); frame !== undefined; frame = port.read()) yield withoutVirtioHeader(frame)
}

function withVirtioHeader(frame: Uint8Array): Uint8Array {
  return Uint8Array.from([...new Uint8Array(VIRTIO_NET_HEADER_LENGTH), ...frame])
}

/** Runs flood.ts. */
async function flood(network: TestNetwork, frame: Uint8Array): Promise<() => Promise<void>> {
  const program = new URL('../flood.ts', import.meta.url).pathname
  const hex = Buffer.from(withVirtioHeader(frame)).toString('hex')
  const command = [process.execPath, program, `/run/netns/${network.bridge}`, 'flood', hex]
  const child = Bun.spawn(command, { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' })
  await child.stdout.getReader().read()
  return async () => {
    child.stdin.end()
    await child.exited
  }
}
