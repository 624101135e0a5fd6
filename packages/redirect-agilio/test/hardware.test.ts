// Which devices are taken for an Agilio, and what is said of the others.
import { expect, test } from 'bun:test'
import { FlowKey, MacAddress, RedirectorError, type SteerRule } from '@xoffload/core'
import type { DeviceDescription } from '@xoffload/redirect-flower'
import { AgilioRedirector, agilio } from '../src/index.ts'

const port: DeviceDescription = {
  name: 'enp1s0np0',
  ifindex: 5,
  mac: MacAddress.parse('02:00:00:00:00:01'),
  up: true,
  driver: { driver: 'nfp', version: '', firmware: '0.0.5.5 0.31 flo-2.0 flower', bus: '0000:01:00.0' },
  features: { active: new Set(['hw-tc-offload']), changeable: new Set(['hw-tc-offload']) },
  eswitchMode: 'switchdev',
  steeringMode: undefined,
  portName: 'p0',
}
const alone = { output: undefined, tunnel: undefined }

function refusalOf(device: DeviceDescription, request: Parameters<typeof agilio>[1] = alone): RedirectorError {
  try {
    agilio(device, request)
  } catch (error) {
    if (error instanceof RedirectorError) return error
    throw error
  }
  throw new Error('it was taken')
}

test('a port with the flower firmware is taken; with a tunnel device it has mode vxlan', () => {
  expect(agilio(port, alone)).toMatchObject({
    name: 'agilio',
    offload: 'nic',
    execution: 'skip-software',
    steerModes: ['l2'],
  })
  expect(agilio(port, { output: { ...port, name: 'enp1s0np1' }, tunnel: 'vxlan0' }).steerModes).toEqual(['l2', 'vxlan'])
})

test.each<[string, DeviceDescription, RegExp]>([
  [
    'another driver',
    { ...port, driver: { driver: 'mlx5_core', version: '', firmware: '', bus: '' } },
    /mlx5_core.*nfp/,
  ],
  [
    'the ordinary firmware',
    { ...port, driver: { driver: 'nfp', version: '', firmware: '0.0.3.5 0.25 nic-2.1.16 nic', bus: '' } },
    /runs no "flower": install the flower firmware/,
  ],
  ['the data vNIC', { ...port, portName: 'n0' }, /representor/],
  [
    'hw-tc-offload off',
    { ...port, features: { active: new Set(), changeable: new Set(['hw-tc-offload']) } },
    /ethtool -K/,
  ],
])('%s is refused', (_, device, words) => {
  const { reason, message } = refusalOf(device)
  expect(reason).toBe('unsupported')
  expect(message).toMatch(words)
})

test('a port of another card is refused as output', () => {
  const other = { ...port, name: 'eth0', driver: { driver: 'nfp', version: '', firmware: '', bus: '0000:02:00.0' } }
  expect(refusalOf(port, { output: other, tunnel: undefined }).message).toContain('eth0 is no port of the same card')
})

test('VXLAN at another port than 4789 is objected to before the driver is asked', () => {
  const { objection } = agilio(port, { output: undefined, tunnel: 'vxlan0' })
  const flow = FlowKey.of({ address: '192.0.2.1', port: 1 }, { address: '198.51.100.1', port: 80 })
  const rule = (udp: number): SteerRule => ({
    action: 'steer',
    flow,
    target: { mode: 'vxlan', remote: '203.0.113.1', identifier: 1, port: udp, mac: port.mac },
  })
  expect(objection?.(rule(4789))).toBeUndefined()
  expect(objection?.(rule(8472))).toContain('4789')
  expect(objection?.({ action: 'steer', flow, target: { mode: 'l2', mac: port.mac } })).toBeUndefined()
})

test('before it is open, the redirector says what it is', () => {
  const { manifest } = new AgilioRedirector({ device: 'enp1s0np0' })
  expect(manifest).toMatchObject({ name: 'agilio', offload: 'nic', holds: false, observable: true })
  expect(manifest.expected).toEqual({ insertMicroseconds: 68, removeMicroseconds: 65 })
})
