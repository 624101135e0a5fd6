import { EAGAIN, errnoName, LinuxError } from './errno.ts'
import { check, lastErrno, libc } from './ffi/libc.ts'
import { TaggedFrames } from './packet-auxdata.ts'
import {
  AF_PACKET,
  MSG_DONTWAIT,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
} from './socket/constants.ts'
import { getOptionBytes, setOption } from './socket/options.ts'

const SOL_PACKET = 263
// include/uapi/linux/if_packet.h and if_ether.h.
const PACKET_STATISTICS = 6
const PACKET_AUXDATA = 8
const PACKET_IGNORE_OUTGOING = 23
const ETH_P_ALL = 0x0003
const SOCKADDR_LL_LENGTH = 20
// include/uapi/asm-generic/sockios.h. Answers with two 64-bit numbers: seconds and nanoseconds.
const SIOCGSTAMPNS = 0x8907
/** A GSO packet that was not split yet has up to 64 KiB and its headers; BIG TCP is more, and is cut. */
const FRAME_LENGTH = 65536 + 128

export interface PacketSocketOptions {
  /** The device to listen on and to send from, by its index in the network namespace of the calling thread. */
  readonly device: number
  /** Leave out what this host sends. Default false. */
  readonly ignoreOutgoing?: boolean
  /** How many bytes of a frame are kept, default all. */
  readonly snapLength?: number
  /** Give frames the VLAN tag again that the kernel has taken off: see {@link PacketSocket.read}. Default false. */
  readonly vlanTags?: boolean
  /** Note when each frame passed the device: see {@link PacketSocket.timestamp}. Default false. */
  readonly timestamps?: boolean
  /** In bytes, default 8 MiB. Frames that find no room are dropped and counted. */
  readonly receiveBuffer?: number
}

/** Sends and receives whole Ethernet frames (packet(7), SOCK_RAW). Needs CAP_NET_RAW. Never blocks. */
export class PacketSocket {
  readonly #buffer: Uint8Array
  readonly #tagged: TaggedFrames | undefined
  #fd: number

  private constructor(fd: number, snapLength: number, vlanTags: boolean) {
    this.#fd = fd
    this.#buffer = new Uint8Array(vlanTags ? 0 : snapLength)
    this.#tagged = vlanTags ? new TaggedFrames(snapLength) : undefined
  }

  /** Throws {@link LinuxError}: `EPERM` without CAP_NET_RAW, `ENODEV` when there is no such device. */
  static open(options: PacketSocketOptions): PacketSocket {
    const { device, ignoreOutgoing = false, timestamps = false, vlanTags = false } = options
    const { snapLength = FRAME_LENGTH, receiveBuffer = 8 * 1024 * 1024 } = options
    // Protocol 0: nothing is received before bind(2) has named the device.
    const fd = check(
      'socket(AF_PACKET)',
      libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
      'this needs CAP_NET_RAW',
    )
    const socket = new PacketSocket(fd, snapLength, vlanTags)
    try {
      setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer, 'setsockopt(SO_RCVBUFFORCE)', 'this needs CAP_NET_ADMIN')
      if (ignoreOutgoing) setOption(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, 'setsockopt(PACKET_IGNORE_OUTGOING)')
      if (vlanTags) setOption(fd, SOL_PACKET, PACKET_AUXDATA, 1, 'setsockopt(PACKET_AUXDATA)')
      // The first question, which has no answer yet, makes the kernel take the time of frames from now on (sock_gettstamp).
      if (timestamps) socket.timestamp()
      const address = new Uint8Array(SOCKADDR_LL_LENGTH)
      const view = new DataView(address.buffer)
      view.setUint16(0, AF_PACKET, true)
      view.setUint16(2, ETH_P_ALL, false)
      view.setInt32(4, device, true)
      check(`bind(AF_PACKET, device ${device})`, libc.bind(fd, address, address.length))
    } catch (error) {
      socket.close()
      throw error
    }
    return socket
  }

  /**
   * The next frame, from its Ethernet header on, undefined when there is none. The kernel takes a VLAN tag off every frame that has come,
   * the outer one of two; it is in here only with the option `vlanTags`.
   */
  read(): Uint8Array | undefined {
    if (this.#tagged !== undefined) return this.#tagged.read(this.#fd)
    const length = Number(libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT))
    if (length >= 0) return this.#buffer.slice(0, length)
    const errno = lastErrno()
    if (errno === EAGAIN) return undefined
    throw new LinuxError('recv(AF_PACKET)', errnoName(errno))
  }

  /**
   * When the frame that was read last passed the device, by the wall clock, in nanoseconds since the epoch (SIOCGSTAMPNS, socket(7)).
   * Undefined before the first frame; only with the option `timestamps`. The kernel begins to note times a moment after the socket was
   * opened: for a frame before that it is the time of this call. Throws {@link LinuxError}.
   */
  timestamp(): bigint | undefined {
    const time = new BigInt64Array(2)
    if (libc.ioctl(this.#fd, SIOCGSTAMPNS, time) === 0) {
      const [seconds = 0n, nanoseconds = 0n] = time
      return seconds * 1_000_000_000n + nanoseconds
    }
    const errno = errnoName(lastErrno())
    if (errno === 'ENOENT') return undefined
    throw new LinuxError('ioctl(SIOCGSTAMPNS)', errno)
  }

  /** Sends a frame that begins with its Ethernet header. Throws {@link LinuxError} (`EMSGSIZE`, `ENOBUFS`, `ENETDOWN`). */
  write(frame: Uint8Array): void {
    check('send(AF_PACKET)', Number(libc.send(this.#fd, frame, frame.length, MSG_DONTWAIT)))
  }

  /** Frames received and frames dropped for want of room since the last call (PACKET_STATISTICS). */
  statistics(): { readonly received: number; readonly dropped: number } {
    const counts = new Uint32Array(2)
    getOptionBytes(this.#fd, SOL_PACKET, PACKET_STATISTICS, counts, 'getsockopt(PACKET_STATISTICS)')
    const [total = 0, dropped = 0] = counts
    return { received: total - dropped, dropped }
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    check('close', libc.close(fd))
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
