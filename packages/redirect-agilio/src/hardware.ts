import type { SteerRule } from '@xoffload/core'
import {
  type FlowerHardware,
  type FlowerProfile,
  requireDriver,
  requireTcOffload,
  requireUp,
  unsupported,
} from '@xoffload/redirect-flower'

const DRIVERS = ['nfp']
/** The last word of the firmware's version is the application that it runs (`nfp_app_name`). */
const APPLICATION = 'flower'
/** A data vNIC is `n0`, a port `p0` (nfp_net_common.c, nfp_port.c). */
const DATA_VNIC = /^n\d+$/
/** NFP_FL_VXLAN_PORT. */
const VXLAN_PORT = 4789
/** How many the firmware takes is nowhere said; the driver refuses what is too much. */
const CAPACITY = 65_536

/** Li et al., "Remote TCP Connection Offload with XO": what the driver takes to queue a rule to the firmware. */
export const EXPECTED_PROFILE: FlowerProfile = {
  name: 'agilio',
  offload: 'nic',
  execution: 'skip-software',
  families: [4, 6],
  steerModes: ['l2'],
  capacity: CAPACITY,
  expected: { insertMicroseconds: 68, removeMicroseconds: 65 },
  countsLinkHeader: false,
  objection,
}

/**
 * Agilio CX with the firmware `flower` and its representors. The driver answers before the firmware has looked at a rule
 * (`nfp_flower_xmit_flow`), so `in_hw` means that the rule was sent there. Throws `RedirectorError`.
 */
export const agilio: FlowerHardware = (device, { output, tunnel }) => {
  const { firmware, bus } = requireDriver(device, DRIVERS, 'Agilio SmartNIC')
  if (firmware.split(' ').at(-1) !== APPLICATION) {
    throw unsupported(
      device,
      `its firmware is "${firmware}", which runs no "${APPLICATION}": install the flower firmware`,
    )
  }
  if (device.portName !== undefined && DATA_VNIC.test(device.portName)) {
    throw unsupported(device, 'it is the data vNIC: take the representor of the port (p0, p1, ...)')
  }
  requireTcOffload(device)
  requireUp(device)
  if (output !== undefined && output.driver?.bus !== bus) {
    throw unsupported(device, `${output.name} is no port of the same card`)
  }
  return tunnel === undefined ? EXPECTED_PROFILE : { ...EXPECTED_PROFILE, steerModes: ['l2', 'vxlan'] }
}

function objection({ target }: SteerRule): string | undefined {
  if (target.mode !== 'vxlan' || target.port === VXLAN_PORT) return undefined
  return `the firmware knows VXLAN by its UDP port ${VXLAN_PORT} only, not by ${target.port}`
}
