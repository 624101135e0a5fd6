import { type MacAddress, RedirectorError } from '@xoffload/core'
import type { FlowerKernel } from './kernel.ts'
import type { FlowerRedirectorOptions } from './options.ts'
import type { DeviceDescription, FlowerHardware, FlowerProfile } from './profile.ts'
import type { SteerPath } from './rule-filter.ts'

/** What is known of a redirector's devices before anything is changed. */
export interface Examination {
  readonly device: DeviceDescription
  readonly profile: FlowerProfile
  readonly output: SteerPath
  readonly tunnel: SteerPath | undefined
}

/** Looks at the devices and chooses the profile. Throws `RedirectorError` that says what is missing, and `LinuxError`. */
export function examine(kernel: FlowerKernel, options: FlowerRedirectorOptions, hardware: FlowerHardware): Examination {
  const device = existing(kernel, options.device)
  const hasOutput = options.output !== undefined && options.output !== device.name
  const output = hasOutput ? existing(kernel, options.output) : undefined
  const chosen = hardware(device, { output, tunnel: options.tunnel })
  const profile = { ...chosen, capacity: Math.min(chosen.capacity, options.capacity ?? chosen.capacity) }
  return { device, profile, output: output ?? device, tunnel: tunnelOf(kernel, options.tunnel) }
}

function existing(kernel: FlowerKernel, name: string): DeviceDescription {
  const device = kernel.describe(name)
  if (device !== undefined) return device
  throw new RedirectorError('gone', `there is no device ${name} with a MAC address in this network namespace`)
}

function tunnelOf(kernel: FlowerKernel, name: string | undefined): SteerPath | undefined {
  if (name === undefined) return undefined
  const device: { ifindex: number; mac: MacAddress | undefined } | undefined = kernel.find(name)
  if (device?.mac !== undefined) return { ifindex: device.ifindex, mac: device.mac }
  const advice = `ip link add ${name} type vxlan external dstport 4789`
  throw new RedirectorError('gone', `there is no tunnel device ${name} with a MAC address: "${advice}"`)
}
