import { Rtnetlink } from '@xoffload/linux'
import { type Check, failed, ok } from '../check.ts'

/** The device that packets are steered at: there, Ethernet, and up. */
export const deviceCheck: Check = {
  name: 'device',
  run({ config }) {
    if (config === undefined) return undefined
    const { device } = config
    using rtnetlink = new Rtnetlink()
    const link = rtnetlink.link(device)
    if (link === undefined) return failed(`there is no device ${device}: "ip link" shows those that there are`)
    if (link.mac === undefined) return failed(`${device} has no MAC address: choose an Ethernet device`)
    if (!link.up) return failed(`${device} is down: ip link set ${device} up`)
    return ok(`${device} is up, MAC address ${link.mac}, MTU ${link.mtu}: it must be the same on gateway and servers`)
  },
}
