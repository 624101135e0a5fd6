import { requireUp } from './checks.ts'
import { FlowerRedirector } from './flower-redirector.ts'
import type { FlowerRedirectorOptions } from './options.ts'
import type { FlowerHardware, FlowerProfile } from './profile.ts'

const PROFILE: FlowerProfile = {
  name: 'flower',
  offload: 'software',
  execution: 'skip-hardware',
  families: [4, 6],
  steerModes: ['l2'],
  capacity: 1 << 20,
  expected: { insertMicroseconds: 20, removeMicroseconds: 20 },
  countsLinkHeader: false,
}

/** Flower without a NIC: the kernel executes the rules. Throws `RedirectorError` when the device is down. */
export const softwareFlower: FlowerHardware = (device, { tunnel }) => {
  requireUp(device)
  return tunnel === undefined ? PROFILE : { ...PROFILE, steerModes: ['l2', 'vxlan'] }
}

/**
 * Steers flows with flower in the kernel: slower than eBPF, on any device, and good for trying rules out. Needs CONFIG_NET_CLS_FLOWER,
 * CONFIG_NET_ACT_PEDIT and CONFIG_NET_ACT_MIRRED, and CONFIG_NET_ACT_TUNNEL_KEY for mode `vxlan`.
 */
export class SoftwareFlowerRedirector extends FlowerRedirector {
  /** Throws `RedirectorError` `invalid` for options that cannot be right. */
  constructor(options: FlowerRedirectorOptions) {
    super(options, softwareFlower, PROFILE)
  }
}
