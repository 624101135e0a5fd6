import { RedirectorError } from '@xoffload/core'
import type { DeviceDescription } from './profile.ts'

/** Throws {@link RedirectorError} `unsupported` unless one of the drivers has the device. Returns what the driver says. */
export function requireDriver(device: DeviceDescription, drivers: readonly string[], card: string) {
  const { driver } = device
  if (driver !== undefined && drivers.includes(driver.driver)) return driver
  const found = driver === undefined ? 'its driver does not tell its name' : `its driver is ${driver.driver}`
  throw unsupported(device, `it is no ${card}: ${found}, and ${drivers.join(' or ')} is expected`)
}

/** Throws {@link RedirectorError} `unsupported` when the device does not offload flower, or has it switched off. */
export function requireTcOffload(device: DeviceDescription): void {
  const { name, features } = device
  if (features === undefined) throw unsupported(device, 'the kernel has no ethtool netlink (CONFIG_ETHTOOL_NETLINK)')
  if (features.active.has('hw-tc-offload')) return
  throw unsupported(
    device,
    features.changeable.has('hw-tc-offload')
      ? `hw-tc-offload is off: switch it on with "ethtool -K ${name} hw-tc-offload on"`
      : 'the device has no hw-tc-offload: its driver or its firmware cannot execute tc filters',
  )
}

/** Throws {@link RedirectorError} `gone` when the device is down. */
export function requireUp({ name, up }: DeviceDescription): void {
  if (!up) throw new RedirectorError('gone', `${name} is down: "ip link set ${name} up"`)
}

export function unsupported({ name }: DeviceDescription, why: string): RedirectorError {
  return new RedirectorError('unsupported', `${name} cannot steer flows: ${why}`)
}
