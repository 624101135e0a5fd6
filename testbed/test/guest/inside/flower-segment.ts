// A gateway with a virtual NIC; the wire on its other side is what client and target send and receive. For tests inside the guest.
import { readFileSync } from 'node:fs'
import { MacAddress } from '@xoffload/core'
import type { NetworkUnderTest } from '@xoffload/core/conformance'
import {
  decodeAcknowledgement,
  deleteClsact,
  detachXdp,
  LinuxError,
  netlinkMessages,
  PacketSocket,
  queryXdp,
  Rtnetlink,
  requestLength,
  TcSocket,
  writeRequest,
} from '@xoffload/linux'
import { runTool } from '../../../src/command.ts'
import type { NicPort } from '../../../src/guest/index.ts'

const DEVICE = MacAddress.parse('02:00:00:00:00:10')
const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const TARGET = MacAddress.parse('02:00:00:00:00:22')
const CLIENT_ADDRESSES = { 4: '10.77.0.77', 6: 'fd77::77' }
const TUNNEL_ADDRESSES = { 4: '10.77.0.78', 6: 'fd77::78' }
const SERVICE_ADDRESSES = { 4: '198.18.0.1', 6: 'fd78::1' }
const BROADCAST = 'ff:ff:ff:ff:ff:ff'

/** A device that filters are tried on, and what arrives behind it. */
export interface FlowerSegment extends Disposable {
  readonly network: NetworkUnderTest
  /** Takes away what a redirector has left on the device. */
  clean(): void
}

/** Gives the port addresses and opens both of its ends. */
export async function makeSegment(port: NicPort): Promise<FlowerSegment> {
  await configure(port)
  using undo = new DisposableStack()
  using rtnetlink = new Rtnetlink()
  const indexOf = (name: string) => rtnetlink.link(name)?.index ?? 0
  const open = (name: string) =>
    undo.use(PacketSocket.open({ device: indexOf(name), ignoreOutgoing: true, vlanTags: true }))
  const host = indexOf(port.host)
  const wire = open(port.wire)
  const stack = open(port.host)
  const requests = undo.adopt(TcSocket.open(), (socket) => socket.close())
  const arrived = new Map([CLIENT, TARGET].map((mac) => [`${mac}`, [] as Uint8Array[]]))
  const sort = () => {
    for (let frame = wire.read(); frame !== undefined; frame = wire.read()) {
      const destination = `${MacAddress.from(frame.subarray(0, 6))}`
      for (const [mac, frames] of arrived) if (mac === destination || destination === BROADCAST) frames.push(frame)
    }
  }
  const kept = undo.move()
  return {
    network: {
      device: DEVICE,
      client: CLIENT,
      clientAddresses: CLIENT_ADDRESSES,
      serviceAddresses: SERVICE_ADDRESSES,
      target: TARGET,
      tunnelAddresses: TUNNEL_ADDRESSES,
      send: (frame) => wire.write(frame),
      emit: (frame) => emit(stack, frame),
      received(host) {
        sort()
        const frames = arrived.get(`${host === 'client' ? CLIENT : TARGET}`) ?? []
        return frames.splice(0)
      },
      stackPackets: () => count('snmp', /^Tcp: (?:-?\d+ ){9}(\d+)/m) + count('snmp', /^Ip: (?:\d+ ){13}(\d+)/m),
    },
    clean() {
      if (queryXdp(host) !== undefined) detachXdp(host, 'generic')
      removeClsact(requests, host)
    },
    [Symbol.dispose]: () => kept.dispose(),
  }
}

async function configure({ host, wire }: NicPort): Promise<void> {
  const ip = (...words: readonly string[]) => runTool(['ip', ...words])
  for (const device of [host, wire]) await ip('link', 'set', device, 'addrgenmode', 'none')
  await ip('link', 'set', host, 'address', `${DEVICE}`, 'up')
  await ip('link', 'set', wire, 'up')
  await ip('address', 'add', '10.77.0.1/24', 'dev', host)
  await ip('address', 'add', 'fd77::1/64', 'dev', host, 'nodad')
  // Not on the loopback device: so they go with the NIC.
  await ip('address', 'add', `${SERVICE_ADDRESSES[4]}/32`, 'dev', host)
  await ip('address', 'add', `${SERVICE_ADDRESSES[6]}/128`, 'dev', host, 'nodad')
  for (const address of Object.values(CLIENT_ADDRESSES)) {
    await ip('neigh', 'add', address, 'lladdr', `${CLIENT}`, 'dev', host)
  }
  for (const address of Object.values(TUNNEL_ADDRESSES)) {
    await ip('neigh', 'add', address, 'lladdr', `${TARGET}`, 'dev', host)
  }
}

/** With all its filters; there may be none. Throws {@link LinuxError}. */
function removeClsact(socket: TcSocket, ifindex: number): void {
  const request = deleteClsact(ifindex)
  const message = new Uint8Array(requestLength(request))
  writeRequest(message, 0, request, 1, true)
  socket.send(message)
  const answer = socket.receive()
  if (!(answer instanceof Uint8Array)) throw new LinuxError('RTM_DELQDISC', 'ENOBUFS', 'there is no answer')
  for (const reply of netlinkMessages(answer)) {
    const errno = decodeAcknowledgement(reply)?.errno
    // EINVAL: there is no such qdisc (`tc_get_qdisc`, net/sched/sch_api.c).
    if (errno !== undefined && errno !== 'EINVAL' && errno !== 'ENOENT') throw new LinuxError('RTM_DELQDISC', errno)
  }
}

/** What a program on the way out drops, send(2) answers with ENOBUFS (net/core/dev.c: NET_XMIT_DROP). */
function emit(stack: PacketSocket, frame: Uint8Array): void {
  try {
    stack.write(frame)
  } catch (error) {
    if (!(error instanceof LinuxError) || error.errno !== 'ENOBUFS') throw error
  }
}

function count(file: string, pattern: RegExp): number {
  return Number(pattern.exec(readFileSync(`/proc/net/${file}`, 'utf8'))?.[1] ?? 0)
}
