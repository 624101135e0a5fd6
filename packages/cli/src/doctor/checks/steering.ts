import { bpfProgramInfo, deviceFeatures, type Link, LinuxError, queryXdp, Rtnetlink } from '@xoffload/linux'
import { agilio } from '@xoffload/redirect-agilio'
import { type FlowerHardware, linuxKernel, softwareFlower } from '@xoffload/redirect-flower'
import { connectX } from '@xoffload/redirect-flower-cx'
import type { HardwareConfig, HardwareType, RedirectorConfig } from '../../config/index.ts'
import { requireNoHardwareRules } from '../../runtime/redirector.ts'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'

/** What the programs of an `XdpRedirector` are called. */
const XDP_PROGRAM = /^xo_xdp/
/** ethtool's `rxvlan`: tags are out of the frame before XDP sees it. */
const VLAN_PARSING = 'rx-vlan-hw-parse'

const HARDWARE: Readonly<Record<HardwareType, FlowerHardware>> = {
  'cx-flower': connectX,
  agilio,
  flower: softwareFlower,
}

/** The configured device, and its NIC, can do what the configured redirector wants of them. Looks only: rules on it may be in use. */
export const steeringCheck: Check = {
  name: 'steering',
  run({ role, config }) {
    if (role !== 'gateway' || config === undefined) return undefined
    const { device, redirector } = config
    using rtnetlink = new Rtnetlink()
    const link = rtnetlink.link(device)
    // The check of the device says so.
    if (link === undefined) return undefined
    const { type, hardware } = redirector
    if (hardware === undefined) requireNoHardwareRules(device)
    return worst([
      type === 'xdp' ? xdp(link, redirector.mode) : ok(`${device} steers at tc`),
      hardware && nic(device, hardware, rtnetlink),
    ])
  },
}

function xdp(link: Link, mode: RedirectorConfig['mode']): Result {
  const other = otherProgram(link)
  if (other !== undefined) return other
  if (mode !== 'driver') return ok(`${link.name} is free for XDP`)
  if (link.kind === 'veth') {
    return warning(
      `${link.name} is a veth: without an XDP program on its peer nobody takes what XDP sends back; mode = "generic" needs none`,
    )
  }
  if (deviceFeatures(link.index)?.active.has(VLAN_PARSING) !== true) {
    return ok(`${link.name} is free for XDP; whether its driver has it shows when the gateway starts`)
  }
  return warning(
    `${link.name} takes VLAN tags out of frames, and XDP would send them back without: if connections have tags, ethtool -K ${link.name} rxvlan off`,
  )
}

/** A device has one XDP program. Undefined when it has none, or that of a gateway. */
function otherProgram({ name, index }: Link): Result | undefined {
  const found = queryXdp(index)
  if (found === undefined) return undefined
  const advice = `choose redirector.type = "tc", or remove it with "ip link set dev ${name} xdp off"`
  try {
    const program = bpfProgramInfo(found.programId)
    if (program === undefined || XDP_PROGRAM.test(program.name)) return undefined
    return failed(`${name} has another XDP program (${program.name}, id ${found.programId}): ${advice}`)
  } catch (error) {
    if (!(error instanceof LinuxError) || error.errno !== 'EPERM') throw error
    return warning(
      `${name} has an XDP program (id ${found.programId}) that this user may not look at: fine while a gateway runs, else ${advice}`,
    )
  }
}

/** Throws a `RedirectorError` that says what to change. */
function nic(device: string, { type, output, tunnel }: HardwareConfig, rtnetlink: Rtnetlink): Result {
  const missing = [output, tunnel].find((name) => name !== undefined && rtnetlink.link(name)?.mac === undefined)
  if (missing !== undefined) {
    return failed(`there is no device ${missing} with a MAC address: "ip link" shows those that there are`)
  }
  const description = linuxKernel.describe(device)
  if (description === undefined) return failed(`${device} has no MAC address: choose an Ethernet device`)
  const other = output === undefined || output === device ? undefined : linuxKernel.describe(output)
  const { steerModes } = HARDWARE[type](description, { output: other, tunnel })
  return ok(
    `${device} steers in hardware (${type}) in mode ${steerModes.join(', ')}, as far as can be seen from outside`,
  )
}
