import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { Routes, readSysctl, TunnelDevice, type TunnelDeviceOptions } from '@xoffload/linux'
import { errnoOf, TestNamespace } from './test-namespace.ts'

const VXLAN = { name: 'tunnel0', mode: 'vxlan', local: '192.0.2.1', identifier: 42, port: 4789 } as const

let namespace: TestNamespace

beforeEach(() => {
  namespace = new TestNamespace()
  namespace.ip('addr', 'add', '192.0.2.1/24', 'dev', 'veth0')
  namespace.ip('addr', 'add', '2001:db8::1/64', 'dev', 'veth0', 'nodad')
})
afterEach(() => namespace[Symbol.dispose]())

const open = (options: TunnelDeviceOptions) => namespace.inside(() => TunnelDevice.open(options))

describe('a VXLAN device', () => {
  test.each(['192.0.2.1', '2001:db8::1'])('takes what is sent to %s, and goes at the end', (local) => {
    const device = open({ ...VXLAN, local })
    const shown = namespace.ip('-d', 'link', 'show', 'tunnel0')
    expect(shown).toContain(`vxlan id 42 local ${local}`)
    for (const part of ['dstport 4789', 'nolearning', 'udp6zerocsumrx', ',UP', `${device.mac}`])
      expect(shown).toContain(part)
    namespace.inside(() => expect(readSysctl('ipv4/conf/tunnel0/rp_filter')).toBe('2'))
    device.close()
    device.close()
    expect(namespace.ip('link', 'show')).not.toContain('tunnel0')
  })

  test('is adopted with the same options, and with its address; with others it is another one', () => {
    const first = open(VXLAN)
    first.release()
    const next = open(VXLAN)
    expect([next.ifindex, next.mac]).toEqual([first.ifindex, first.mac])
    expect(errnoOf(() => open({ ...VXLAN, port: 4790 }))).toBe('EEXIST')
    expect(errnoOf(() => open({ ...VXLAN, name: 'tunnel1' }))).toBe('EEXIST')
    next.close()
  })

  test('that somebody else has removed is closed all the same', () => {
    const device = open(VXLAN)
    namespace.ip('link', 'del', 'tunnel0')
    device.close()
  })

  test('whose settings the kernel refuses leaves nothing behind', () => {
    expect(errnoOf(() => open({ ...VXLAN, identifier: 2 ** 24 }))).not.toBe('nothing was thrown')
    expect(namespace.ip('link', 'show')).not.toContain('tunnel0')
  })
})

test('routes: the device, the source address, the router and the MTU, if there is a way', () => {
  namespace.ip('route', 'add', '198.51.100.0/24', 'via', '192.0.2.2', 'mtu', '1400')
  namespace.ip('-6', 'route', 'add', '2001:db8:1::/64', 'via', '2001:db8::2')
  const index = Number(/^(\d+):/.exec(namespace.ip('-o', 'link', 'show', 'veth0'))?.[1])
  using routes = namespace.inside(() => new Routes())
  const direct = { ifindex: index, source: '192.0.2.1', gateway: undefined, mtu: undefined }
  expect(routes.find('198.51.100.9')).toEqual({ ...direct, gateway: '192.0.2.2', mtu: 1400 })
  expect(routes.find('192.0.2.9')).toEqual(direct)
  expect(routes.find('2001:db8:1::9')).toMatchObject({ ifindex: index, source: '2001:db8::1', gateway: '2001:db8::2' })
  for (const nowhere of ['203.0.113.1', '2001:db8:2::1', '192.0.2.1']) expect(routes.find(nowhere)).toBeUndefined()
})
