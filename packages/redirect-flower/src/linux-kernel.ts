import { readFileSync } from 'node:fs'
import {
  claimName,
  Devlink,
  type DriverInformation,
  deviceFeatures,
  driverInformation,
  LinuxError,
  Rtnetlink,
} from '@xoffload/linux'
import type { FlowerKernel } from './kernel.ts'
import type { DeviceDescription } from './profile.ts'
import { WorkerConnection } from './worker-connection.ts'

/** The kernel of this host, in the network namespace of the calling thread. */
export const linuxKernel: FlowerKernel = {
  describe,
  find(device) {
    using rtnetlink = new Rtnetlink()
    const link = rtnetlink.link(device)
    return link && { ifindex: link.index, mac: link.mac }
  },
  connect(name) {
    const claim = claimName(name)
    return claim && new WorkerConnection(claim)
  },
  now: () => process.hrtime.bigint(),
}

function describe(name: string): DeviceDescription | undefined {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(name)
  if (link?.mac === undefined) return undefined
  return {
    name,
    ifindex: link.index,
    mac: link.mac,
    up: link.up,
    driver: driverOf(name),
    features: deviceFeatures(link.index),
    ...switchOf(link.index),
    portName: portNameOf(name),
  }
}

function driverOf(device: string): DriverInformation | undefined {
  try {
    return driverInformation(device)
  } catch (error) {
    if (error instanceof LinuxError && error.errno === 'EOPNOTSUPP') return undefined
    throw error
  }
}

function switchOf(ifindex: number): Pick<DeviceDescription, 'eswitchMode' | 'steeringMode'> {
  using devlink = Devlink.open()
  const handle = devlink?.handleOf(ifindex)
  if (devlink === undefined || handle === undefined) return { eswitchMode: undefined, steeringMode: undefined }
  return {
    eswitchMode: devlink.eswitchMode(handle),
    steeringMode: devlink.parameter(handle, 'flow_steering_mode'),
  }
}

/** The name is the switch driver's; a device that has none answers with an error (net/core/net-sysfs.c). */
function portNameOf(device: string): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${device}/phys_port_name`, 'utf8').trim()
  } catch {
    return undefined
  }
}
