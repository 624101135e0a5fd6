import { inNetworkNamespace, PacketSocket, Rtnetlink } from '@xoffload/linux'
import type { Host } from './host.ts'

/** A TCP segment as seen on a host's device. */
export interface SeenSegment {
  /** When it passed the device, milliseconds since the epoch. */
  readonly at: number
  readonly sourceMac: string
  readonly sourcePort: number
  readonly destinationPort: number
  readonly syn: boolean
  readonly fin: boolean
  readonly rst: boolean
}

const HEADERS = 14 + 40 + 20
const DRAIN_INTERVAL = 2

/** Watches the TCP segments that pass a host's device in either direction, from outside of all programs. */
export class Sniffer implements Disposable {
  readonly segments: SeenSegment[] = []
  readonly #socket: PacketSocket
  readonly #timer: ReturnType<typeof setInterval>

  /** Throws a LinuxError when the host is gone. */
  constructor(host: Host) {
    this.#socket = inNetworkNamespace(host.namespacePath, () => {
      using rtnetlink = new Rtnetlink()
      const device = rtnetlink.link(host.device)?.index ?? 0
      return PacketSocket.open({ device, snapLength: HEADERS, receiveBuffer: 64 * 1024 * 1024, timestamps: true })
    })
    this.#timer = setInterval(() => this.drain(), DRAIN_INTERVAL)
  }

  /** Reads what has come. */
  drain(): void {
    for (let frame = this.#socket.read(); frame !== undefined; frame = this.#socket.read()) {
      const segment = decode(frame, Number(this.#socket.timestamp() ?? 0n) / 1e6)
      if (segment !== undefined) this.segments.push(segment)
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#socket.close()
  }
}

/** IPv4 without options and IPv6 without extension headers: what the testbed's hosts send. */
function decode(frame: Uint8Array, at: number): SeenSegment | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  if (frame.length < 14 + 20 + 20) return undefined
  const ipv4 = view.getUint16(12) === 0x0800 && frame[14] === 0x45 && frame[23] === 6
  const ipv6 = view.getUint16(12) === 0x86dd && frame[20] === 6 && frame.length >= HEADERS
  if (!ipv4 && !ipv6) return undefined
  const tcp = ipv4 ? 34 : 54
  const flags = frame[tcp + 13] ?? 0
  return {
    at,
    sourceMac: Buffer.from(frame.subarray(6, 12))
      .toString('hex')
      .replace(/..(?!$)/g, '$&:'),
    sourcePort: view.getUint16(tcp),
    destinationPort: view.getUint16(tcp + 2),
    fin: (flags & 1) !== 0,
    syn: (flags & 2) !== 0,
    rst: (flags & 4) !== 0,
  }
}
