import { EAGAIN, EBUSY, errnoName, LinuxError } from './errno.ts'
import { check, lastErrno, libc } from './ffi/libc.ts'
import { cString, NativeMemory, textUntilNul } from './ffi/memory.ts'
import { Rtnetlink } from './netlink/rtnetlink.ts'
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from './socket/constants.ts'
import { writeSysctl } from './sysctl.ts'

export interface TapOptions {
  /** At most 15 bytes. `%d` in it is replaced by the first free number. */
  readonly name: string
  /** How many frames the kernel keeps until they are read. Default 1000; what comes on top is dropped. */
  readonly queueLength?: number
}

/** `struct virtio_net_hdr` without the number of buffers: what comes before every frame (include/uapi/linux/virtio_net.h). */
export const VIRTIO_NET_HEADER_LENGTH = 10

// include/uapi/linux/if_tun.h
const TUNSETIFF = 0x400454ca
const TUNSETOFFLOAD = 0x400454d0
const IFF_TAP = 0x0002
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000
const IFF_TUN_EXCL = 0x8000
/** Checksums may be partial, and a frame may be a TCP segment of up to 64 KiB, IPv4 or IPv6, with ECN. */
const TUN_OFFLOADS = 0x01 | 0x02 | 0x04 | 0x08

/** A GSO frame of 64 KiB with its headers and tags. */
const FRAME_LENGTH = 128 * 1024

/**
 * A TAP device: what the kernel sends to it is read here, what is written here is received by it. Every frame starts with a
 * virtio-net header, so that partial checksums and large segments pass as they are: a frame that was read may be written back.
 * The kernel removes the device when the process ends, however it ends.
 */
export class Tap {
  readonly fd: number
  readonly name: string
  readonly ifindex: number
  /** Of the network namespace that the device is in, whichever the caller is in later. */
  readonly #rtnetlink: Rtnetlink
  readonly #buffer = new NativeMemory(FRAME_LENGTH)
  #closed = false

  private constructor(fd: number, name: string, ifindex: number, rtnetlink: Rtnetlink) {
    this.fd = fd
    this.name = name
    this.ifindex = ifindex
    this.#rtnetlink = rtnetlink
  }

  /**
   * Makes the device and brings it up, without IPv6 addresses of its own.
   * Throws {@link LinuxError}: EBUSY when there is a device with that name, EPERM without CAP_NET_ADMIN.
   */
  static open({ name, queueLength }: TapOptions): Tap {
    const path = cString('/dev/net/tun')
    const fd = libc.open(path.bytes, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0)
    if (fd < 0) throw openError(lastErrno())
    let rtnetlink: Rtnetlink | undefined
    try {
      const actual = attach(fd, name)
      check('ioctl(TUNSETOFFLOAD)', libc.ioctl(fd, TUNSETOFFLOAD, TUN_OFFLOADS as never))
      rtnetlink = new Rtnetlink()
      return new Tap(fd, actual, bringUp(rtnetlink, actual, queueLength), rtnetlink)
    } catch (error) {
      rtnetlink?.close()
      libc.close(fd)
      throw error
    }
  }

  /** One frame with its virtio-net header, copied; undefined when none is waiting. Throws {@link LinuxError}. */
  read(): Uint8Array | undefined {
    const length = Number(libc.read(this.#open(), this.#buffer.pointer, FRAME_LENGTH))
    if (length >= 0) return this.#buffer.bytes.slice(0, length)
    if (lastErrno() === EAGAIN) return undefined
    check(`read(${this.name})`, -1)
    return undefined
  }

  /** Hands one frame, with its virtio-net header, to the kernel as if the device had received it. Throws {@link LinuxError}. */
  write(frame: Uint8Array): void {
    check(`write(${this.name})`, Number(libc.write(this.#open(), frame, frame.length)))
  }

  /** The number of frames that came when the queue was full. Throws {@link LinuxError}. */
  get dropped(): number {
    this.#open()
    return this.#rtnetlink.linkStatistics(this.ifindex)?.transmitDropped ?? 0
  }

  /** Removes the device. Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#rtnetlink.close()
    libc.close(this.fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** A descriptor number is used again after it was closed: never read from what may be another file. */
  #open(): number {
    if (this.#closed) throw new LinuxError(this.name, 'EBADF', 'the TAP device is closed')
    return this.fd
  }
}

function openError(errno: number): LinuxError {
  const name = errnoName(errno)
  const denied =
    'this user may not open it: "chmod 666 /dev/net/tun" lets every user, and gives none of them a capability'
  const missing = 'the kernel has no TUN/TAP driver: load it with "modprobe tun"'
  return new LinuxError('open(/dev/net/tun)', name, name === 'EACCES' || name === 'EPERM' ? denied : missing)
}

/** TUNSETIFF takes and fills a `struct ifreq`: 16 bytes of name, then the flags. */
function attach(fd: number, name: string): string {
  const request = new NativeMemory(40)
  const encoded = new TextEncoder().encode(name)
  if (encoded.length > 15) throw new LinuxError('ioctl(TUNSETIFF)', 'EINVAL', `"${name}" is longer than 15 bytes`)
  request.bytes.set(encoded)
  request.view.setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL, true)
  const result = libc.ioctl(fd, TUNSETIFF, request.bytes)
  if (result < 0) {
    const busy = lastErrno() === EBUSY
    const advice = busy ? `there is a device "${name}" already` : 'it needs root, or the capability CAP_NET_ADMIN'
    // The errno is still that of the ioctl: nothing was called in between.
    check(`ioctl(TUNSETIFF ${name})`, result, advice)
  }
  return textUntilNul(request.bytes.subarray(0, 16))
}

function bringUp(rtnetlink: Rtnetlink, name: string, queueLength: number | undefined): number {
  const link = rtnetlink.link(name)
  if (link === undefined)
    throw new LinuxError(`RTM_GETLINK ${name}`, 'ENODEV', 'the TAP device is in another network namespace')
  withoutIpv6(name)
  rtnetlink.setLink(link.index, { up: true, ...(queueLength === undefined ? {} : { queueLength }) })
  return link.index
}

/** Without this the kernel would send router solicitations into the device, and answer on it. */
function withoutIpv6(name: string): void {
  try {
    writeSysctl(`ipv6/conf/${name}/disable_ipv6`, 1)
  } catch (error) {
    // A kernel without IPv6, or with a read-only /proc/sys: then the reader sees a few frames that are not its own.
    if (!(error instanceof LinuxError) || !['ENOENT', 'EROFS'].includes(error.errno)) throw error
  }
}
