import type { FlowKey } from '@xoffload/core'
import { check, libc } from '../ffi/libc.ts'
import { AF_INET, AF_INET6, IPPROTO_RAW, SOCK_CLOEXEC, SOCK_RAW } from '../socket/constants.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../socket/sockaddr.ts'
import { closeFd } from '../socket/socket.ts'

const sockaddr = new Uint8Array(SOCKADDR_LENGTH)

/**
 * Sends IP packets of an address of this host, by the route that its sockets have.
 *
 * @param flow From this host, the flow's client here, to the flow's service.
 *   The calling thread must be in the network namespace. Throws {@link LinuxError}: `EPERM` without CAP_NET_RAW, `EADDRNOTAVAIL` when the
 *   address is not one of this host, `ENETUNREACH`, `EMSGSIZE`.
 */
export function sendPackets(flow: FlowKey, packets: readonly Uint8Array[]): void {
  withRawSocket(flow, (raw) => {
    // A rule of the routing table may ask for the source address (ip-rule(8)), and the one in the packet is not looked at.
    const length = encodeAddress(flow, 'client')
    check('bind(SOCK_RAW)', libc.bind(raw, sockaddr, length))
    send(raw, flow, packets)
  })
}

/**
 * Lets this host's stack receive an IP packet of the client's. It is sent to the service address, which is local, and so never
 * leaves this host; firewall rules for the loopback device apply to it.
 *
 * The calling thread must be in the socket's network namespace. Throws {@link LinuxError} (`EPERM` without CAP_NET_RAW).
 */
export function receiveSegment(flow: FlowKey, packet: Uint8Array): void {
  withRawSocket(flow, (raw) => send(raw, flow, [packet]))
}

function withRawSocket({ family }: FlowKey, body: (raw: number) => void): void {
  const domain = family === 4 ? AF_INET : AF_INET6
  const raw = check(
    'socket(SOCK_RAW)',
    libc.socket(domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW),
    'this needs CAP_NET_RAW',
  )
  try {
    body(raw)
  } finally {
    closeFd(raw)
  }
}

function send(raw: number, flow: FlowKey, packets: readonly Uint8Array[]): void {
  const length = encodeAddress(flow, 'service')
  for (const packet of packets) check('sendto', Number(libc.sendto(raw, packet, packet.length, 0, sockaddr, length)))
}

function encodeAddress(flow: FlowKey, end: 'client' | 'service'): number {
  const length = encodeSockaddr(flow, end, sockaddr)
  // A raw IPv6 socket takes the port for a protocol number.
  sockaddr.fill(0, 2, 4)
  return length
}
