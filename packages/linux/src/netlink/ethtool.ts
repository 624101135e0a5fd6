import { LinuxError } from '../errno.ts'
import { check, libc } from '../ffi/libc.ts'
import { NativeMemory, textUntilNul } from '../ffi/memory.ts'
import { AF_INET, SOCK_CLOEXEC } from '../socket/constants.ts'
import { closeFd } from '../socket/socket.ts'
import { GenericNetlink, genericBody } from './generic.ts'
import { attributeU32, NetlinkBody, netlinkAttributes } from './message.ts'
import { attributesInOrder } from './tc/attributes.ts'

/** include/uapi/linux/ethtool_netlink.h. */
const MSG_FEATURES_GET = 11
const FEATURES_HEADER = 1
const FEATURES_HARDWARE = 2
const FEATURES_ACTIVE = 4
const HEADER_DEVICE_INDEX = 1
const BITSET_NOMASK = 1
const BITSET_SIZE = 2
const BITSET_BITS = 3
const BIT_NAME = 2
const BIT_VALUE = 3

/** include/uapi/linux/sockios.h, ethtool.h: `struct ethtool_drvinfo` and the places of its texts. */
const SIOCETHTOOL = 0x8946
const ETHTOOL_GDRVINFO = 3
const DRIVER_INFORMATION_LENGTH = 196
const DRIVER = [4, 36] as const
const VERSION = [36, 68] as const
const FIRMWARE = [68, 100] as const
const BUS = [100, 132] as const
/** `struct ifreq`: a name of 16 bytes, then a union. */
const IFREQ_LENGTH = 40
const IFREQ_DATA = 16
const NAME_LENGTH = 15
const SOCK_DGRAM = 2

/** The offload features of a device, by the names that `ethtool -k` uses, such as `hw-tc-offload`. */
export interface DeviceFeatures {
  readonly active: ReadonlySet<string>
  /** Those that the device has at all and a user may switch. */
  readonly changeable: ReadonlySet<string>
}

/** What `ethtool -i` says. */
export interface DriverInformation {
  /** `mlx5_core`, `nfp`, `veth`, ... */
  readonly driver: string
  readonly version: string
  /** Empty when the device has none, or its driver does not say. */
  readonly firmware: string
  /** The device's place, such as `0000:03:00.0`; empty for a virtual device. */
  readonly bus: string
}

/**
 * ETHTOOL_MSG_FEATURES_GET (Linux 5.6). Undefined when the kernel has no ethtool netlink. Throws {@link LinuxError} (`ENODEV`).
 */
export function deviceFeatures(ifindex: number): DeviceFeatures | undefined {
  using ethtool = GenericNetlink.open('ethtool')
  if (ethtool === undefined) return undefined
  const device = new NetlinkBody(new Uint8Array()).u32(HEADER_DEVICE_INDEX, ifindex)
  const body = genericBody(MSG_FEATURES_GET).nested(FEATURES_HEADER, device)
  const [reply] = ethtool.request(`ETHTOOL_MSG_FEATURES_GET ${ifindex}`, body)
  if (reply === undefined) throw new LinuxError('ETHTOOL_MSG_FEATURES_GET', 'EBADMSG', 'the answer is empty')
  return decodeFeatures(reply)
}

/** The attributes of an ETHTOOL_MSG_FEATURES_GET answer. Throws {@link LinuxError} EBADMSG. */
export function decodeFeatures(reply: ReadonlyMap<number, Uint8Array>): DeviceFeatures {
  return {
    active: bitset(reply.get(FEATURES_ACTIVE) ?? new Uint8Array()),
    changeable: bitset(reply.get(FEATURES_HARDWARE) ?? new Uint8Array()),
  }
}

/**
 * ETHTOOL_GDRVINFO (there is no netlink message for it). Throws {@link LinuxError}: `ENODEV`, `EOPNOTSUPP` when the driver says
 * nothing.
 */
export function driverInformation(device: string): DriverInformation {
  const name = new TextEncoder().encode(device)
  if (name.length === 0 || name.length > NAME_LENGTH) throw new LinuxError('ETHTOOL_GDRVINFO', 'ENODEV', device)
  const information = new NativeMemory(DRIVER_INFORMATION_LENGTH)
  information.view.setUint32(0, ETHTOOL_GDRVINFO, true)
  const request = new NativeMemory(IFREQ_LENGTH)
  request.bytes.set(name)
  request.setPointer(IFREQ_DATA, information)
  const fd = check('socket(AF_INET)', libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
  try {
    check(`ioctl(ETHTOOL_GDRVINFO, ${device})`, libc.ioctl(fd, SIOCETHTOOL, request.bytes))
  } finally {
    closeFd(fd)
  }
  const text = ([from, to]: readonly [number, number]) => textUntilNul(information.bytes.subarray(from, to))
  return { driver: text(DRIVER), version: text(VERSION), firmware: text(FIRMWARE), bus: text(BUS) }
}

/** The names of the bits that are set in a bitset in its verbose form (Documentation/networking/ethtool-netlink.rst). */
function bitset(nested: Uint8Array): ReadonlySet<string> {
  const parts = netlinkAttributes(nested)
  const size = parts.get(BITSET_SIZE)
  const maximum = size === undefined ? Number.POSITIVE_INFINITY : attributeU32(size)
  const listsSetBitsOnly = parts.has(BITSET_NOMASK)
  const names = new Set<string>()
  for (const { value } of attributesInOrder(parts.get(BITSET_BITS) ?? new Uint8Array())) {
    const bit = netlinkAttributes(value)
    const name = bit.get(BIT_NAME)
    if (name !== undefined && (listsSetBitsOnly || bit.has(BIT_VALUE))) names.add(textUntilNul(name))
    if (names.size > maximum) throw new LinuxError('ethtool', 'EBADMSG', `more than ${maximum} bits`)
  }
  return names
}
