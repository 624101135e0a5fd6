// Which devices are taken for a ConnectX card, and what is said of the others.
import { describe, expect, test } from 'bun:test'
import { MacAddress, RedirectorError } from '@xoffload/core'
import type { DeviceDescription } from '@xoffload/redirect-flower'
import { CxFlowerRedirector, cardOf, connectX } from '../src/index.ts'

const nic: DeviceDescription = {
  name: 'eth5',
  ifindex: 5,
  mac: MacAddress.parse('02:00:00:00:00:01'),
  up: true,
  driver: { driver: 'mlx5_core', version: '6.12', firmware: '28.39.1002 (MT_0000000838)', bus: '0000:03:00.0' },
  features: { active: new Set(['hw-tc-offload', 'rx-gro']), changeable: new Set(['hw-tc-offload']) },
  eswitchMode: 'legacy',
  steeringMode: 'dmfs',
  portName: undefined,
}

function withFirmware(firmware: string): DeviceDescription {
  return { ...nic, driver: { driver: 'mlx5_core', version: '', bus: '0000:03:00.0', firmware } }
}

const alone = { output: undefined, tunnel: undefined }

function refusalOf(device: DeviceDescription, request: Parameters<typeof connectX>[1] = alone): RedirectorError {
  try {
    connectX(device, request)
  } catch (error) {
    if (error instanceof RedirectorError) return error
    throw error
  }
  throw new Error('it was taken')
}

test.each([
  ['16.35.4030 (MT_0000000008)', 'ConnectX-5', 476],
  ['20.39.1002', 'ConnectX-6', 2143],
  ['22.41.1000 (MT_0000000359)', 'ConnectX-6 Dx', 2143],
  ['28.39.1002', 'ConnectX-7', 2143],
  ['40.44.1036', 'ConnectX', 2143],
])('firmware %s is that of a %s', (firmware, name, microseconds) => {
  expect(cardOf(firmware)?.name).toBe(name)
  expect(connectX(withFirmware(firmware), alone).expected.insertMicroseconds).toBe(microseconds)
})

test('outside switchdev mode it steers in mode l2, out of the port that packets arrived at', () => {
  expect(connectX(nic, alone)).toMatchObject({
    name: 'cx-flower',
    offload: 'nic',
    execution: 'skip-software',
    steerModes: ['l2'],
  })
  expect(connectX({ ...nic, eswitchMode: undefined }, alone).steerModes).toEqual(['l2'])
})

test('in switchdev mode it has tunnels, when there is a tunnel device, and another port of the card', () => {
  const uplink: DeviceDescription = { ...nic, eswitchMode: 'switchdev', steeringMode: 'smfs' }
  expect(connectX(uplink, alone).steerModes).toEqual(['l2'])
  expect(connectX(uplink, { output: { ...uplink, name: 'eth6' }, tunnel: 'vxlan0' }).steerModes).toEqual([
    'l2',
    'vxlan',
  ])
})

describe('a device is refused', () => {
  test.each<[string, DeviceDescription, RegExp]>([
    ['without a driver that says its name', { ...nic, driver: undefined }, /its driver does not tell its name/],
    ['of another driver', { ...nic, driver: { driver: 'nfp', version: '', firmware: '', bus: '' } }, /nfp.*mlx5_core/],
    ['that is a ConnectX-4', withFirmware('12.28.2006'), /"12\.28\.2006".*ConnectX-5 16\.x/],
    ['whose firmware says nothing', withFirmware(''), /its firmware is ""/],
    [
      'with hw-tc-offload off',
      { ...nic, features: { active: new Set(), changeable: new Set(['hw-tc-offload']) } },
      /ethtool -K eth5 hw-tc-offload on/,
    ],
    [
      'that offloads nothing',
      { ...nic, features: { active: new Set(), changeable: new Set() } },
      /has no hw-tc-offload/,
    ],
    ['when the kernel does not tell', { ...nic, features: undefined }, /CONFIG_ETHTOOL_NETLINK/],
  ])('%s', (_, device, words) => {
    const { reason, message } = refusalOf(device)
    expect(reason).toBe('unsupported')
    expect(message).toMatch(words)
  })

  test('that is down', () => {
    expect(refusalOf({ ...nic, up: false })).toMatchObject({
      reason: 'gone',
      message: expect.stringContaining('ip link set eth5 up'),
    })
  })

  test('outside switchdev mode, with another port or a tunnel', () => {
    expect(refusalOf(nic, { output: { ...nic, name: 'eth6' }, tunnel: undefined }).message).toContain(
      'leave the output away',
    )
    const { message } = refusalOf(nic, { output: undefined, tunnel: 'vxlan0' })
    expect(message).toContain('devlink dev eswitch set pci/0000:03:00.0 mode switchdev')
  })

  test('in switchdev mode, with a port of another card', () => {
    const other = { ...nic, driver: { driver: 'mlx5_core', version: '', firmware: '', bus: '0000:81:00.0' } }
    const uplink: DeviceDescription = { ...nic, eswitchMode: 'switchdev' }
    expect(refusalOf(uplink, { output: other, tunnel: undefined }).message).toContain('another card')
  })
})

test('before it is open, the redirector says what it is', () => {
  const { manifest } = new CxFlowerRedirector({ device: 'eth5', capacity: 10 })
  expect(manifest).toMatchObject({ name: 'cx-flower', offload: 'nic', holds: false, observable: true, capacity: 10 })
})
