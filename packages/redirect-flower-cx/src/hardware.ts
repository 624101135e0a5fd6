import {
  type DeviceDescription,
  type FlowerHardware,
  type FlowerProfile,
  requireDriver,
  requireTcOffload,
  requireUp,
  unsupported,
} from '@xoffload/redirect-flower'
import { CARDS, type ConnectXCard, cardOf } from './cards.ts'

const DRIVERS = ['mlx5_core', 'mlx5e_rep']
/**
 * The driver's table has room for more, but its firmware gets slower with every rule, and forwarding with it: a card is for the few
 * flows that are worth it.
 */
const CAPACITY = 65_536

/** The profile of a card, as far as its mode does not matter. */
export function profileOf({ expected }: ConnectXCard): FlowerProfile {
  return {
    name: 'cx-flower',
    offload: 'nic',
    execution: 'skip-software',
    families: [4, 6],
    steerModes: ['l2'],
    capacity: CAPACITY,
    expected,
    countsLinkHeader: false,
  }
}

/** Before a card was seen. */
export const EXPECTED_PROFILE = profileOf(CARDS[0] as ConnectXCard)

/**
 * ConnectX-5 and newer with mlx5_core. As an ordinary NIC the card sends packets back out of the port that they arrived at
 * (hairpin); with its embedded switch in mode `switchdev` the device is the uplink's representor, and the card can put packets into
 * VXLAN. Throws `RedirectorError`.
 */
export const connectX: FlowerHardware = (device, { output, tunnel }) => {
  const driver = requireDriver(device, DRIVERS, 'ConnectX card')
  const card = cardOf(driver.firmware)
  if (card === undefined) {
    const known = CARDS.map(({ name, firmware }) => `${name} ${firmware}.x`).join(', ')
    throw unsupported(device, `its firmware is "${driver.firmware}", and these are known: ${known}`)
  }
  requireTcOffload(device)
  requireUp(device)
  const profile = profileOf(card)
  if (device.eswitchMode === 'switchdev') {
    if (output !== undefined) requireSameCard(device, output)
    return tunnel === undefined ? profile : { ...profile, steerModes: ['l2', 'vxlan'] }
  }
  requireNicMode(device, output, tunnel)
  return profile
}

/** What mlx5 would refuse, or take and not carry out, without its embedded switch. */
function requireNicMode(device: DeviceDescription, output: DeviceDescription | undefined, tunnel: string | undefined) {
  if (output !== undefined) {
    const why = `outside switchdev mode a rule cannot send packets out of another port (${output.name}): leave the output away`
    throw unsupported(device, why)
  }
  if (tunnel !== undefined) {
    const bus = device.driver?.bus ?? 'ADDRESS'
    const how = `"devlink dev eswitch set pci/${bus} mode switchdev"`
    throw unsupported(device, `outside switchdev mode the card cannot put packets into a tunnel: ${how}`)
  }
}

function requireSameCard(device: DeviceDescription, output: DeviceDescription): void {
  if (device.driver?.bus === output.driver?.bus) return
  throw unsupported(device, `${output.name} is a port of another card, or of another embedded switch`)
}
