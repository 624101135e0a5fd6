import { FlowKey, MacAddress, RuleQueue, type RuleQueueLimits, type SteerRule } from '../../src/index.ts'
import {
  MemoryDevice,
  MemoryRedirector,
  NIC_PROFILES,
  type NicKnobs,
  NicModel,
  type NicProfile,
} from '../../src/simulation/index.ts'
import { VirtualClock } from './virtual-clock.ts'

const SERVICE = { address: '198.51.100.1', port: 80 }

/** The flow with this number, below 60,000. */
export function flow(number: number): FlowKey {
  return FlowKey.of({ address: '192.0.2.1', port: 1024 + number }, SERVICE)
}

/** A rule that steers the flow to the server with this number, up to 255. */
export function steer(key: FlowKey, server = 1): SteerRule {
  return {
    action: 'steer',
    flow: key,
    target: { mode: 'l2', mac: MacAddress.from(Uint8Array.of(2, 0, 0, 0, 0, server)) },
  }
}

export interface QueueWorldOptions {
  readonly profile?: NicProfile
  readonly capacity?: number
  readonly limits?: Partial<RuleQueueLimits>
  readonly knobs?: Partial<NicKnobs>
}

/** A rule queue before a NIC in virtual time. */
export async function queueWorld({ profile = NIC_PROFILES.cx5, capacity, limits, knobs }: QueueWorldOptions = {}) {
  const clock = new VirtualClock()
  const device = new MemoryDevice(clock)
  const table = new MemoryRedirector({ device })
  const nic = new NicModel({ clock, profile, table, ...(capacity && { capacity }), ...(knobs && { knobs }) })
  await nic.open()
  const errors: unknown[] = []
  const queue = new RuleQueue({
    hardware: nic,
    clock,
    ...(limits && { limits }),
    onError: (error) => errors.push(error),
  })
  return { clock, device, nic, queue, errors }
}
