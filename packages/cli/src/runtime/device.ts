import { type MacAddress, XoffloadError } from '@xoffload/core'
import { Rtnetlink } from '@xoffload/linux'

/** The index of a device of this network namespace. Throws {@link XoffloadError} `DEVICE` when there is none of that name. */
export function deviceIndex(device: string): number {
  return linkOf(device).index
}

/** The MAC address of an Ethernet device. Throws {@link XoffloadError} `DEVICE` when there is none of that name or it has none. */
export function deviceMac(device: string): MacAddress {
  const { mac } = linkOf(device)
  if (mac === undefined)
    throw new XoffloadError('DEVICE', `device ${device} has no MAC address: an Ethernet device is needed`)
  return mac
}

function linkOf(device: string) {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(device)
  if (link === undefined) {
    throw new XoffloadError(
      'DEVICE',
      `device ${device} does not exist in this network namespace; "ip link" shows those that do`,
    )
  }
  return link
}
