import { LinuxError } from '../errno.ts'
import { GenericNetlink, genericBody } from './generic.ts'
import { NetlinkBody } from './message.ts'

/** include/uapi/linux/ethtool_netlink.h. */
const MSG_FEATURES_SET = 12
const FEATURES_HEADER = 1
const FEATURES_WANTED = 3
const HEADER_DEVICE_INDEX = 1
const BITSET_BITS = 3
const BITSET_BIT = 1
const BIT_NAME = 2
const BIT_VALUE = 3

/**
 * Switches offload features of a device, by the kernel's names: `rx-gro`, `tx-checksum-ip-generic`, `rx-vlan-hw-parse` (`ethtool -K`). One
 * that the driver cannot change stays as it is: see `deviceFeatures`. ETHTOOL_MSG_FEATURES_SET, Linux 5.6. Throws {@link LinuxError}:
 * `ENODEV`, `EPERM`, `EOPNOTSUPP` for a name that the kernel does not know, and when it has no ethtool netlink.
 */
export function setDeviceFeatures(ifindex: number, features: Readonly<Record<string, boolean>>): void {
  const call = `ETHTOOL_MSG_FEATURES_SET ${ifindex}`
  using ethtool = GenericNetlink.open('ethtool')
  if (ethtool === undefined) throw new LinuxError(call, 'EOPNOTSUPP', 'the kernel has no ethtool netlink')
  const bits = new NetlinkBody(new Uint8Array())
  for (const [name, active] of Object.entries(features)) {
    const bit = new NetlinkBody(new Uint8Array()).text(BIT_NAME, name)
    bits.nested(BITSET_BIT, active ? bit.attribute(BIT_VALUE, new Uint8Array()) : bit)
  }
  const device = new NetlinkBody(new Uint8Array()).u32(HEADER_DEVICE_INDEX, ifindex)
  const wanted = new NetlinkBody(new Uint8Array()).nested(BITSET_BITS, bits)
  ethtool.request(call, genericBody(MSG_FEATURES_SET).nested(FEATURES_HEADER, device).nested(FEATURES_WANTED, wanted))
}
