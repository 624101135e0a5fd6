import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { MacAddress } from '@xoffload/core'
import { type Link, Rtnetlink, readSysctl, writeSysctl } from '@xoffload/linux'
import { AF_NETLINK } from '../../src/socket/constants.ts'
import { openSocketsOf } from '../tcp-support.ts'
import { errnoOf, TestNamespace } from './test-namespace.ts'

let namespace: TestNamespace
let rtnetlink: Rtnetlink

beforeAll(() => {
  namespace = new TestNamespace()
  rtnetlink = namespace.inside(() => new Rtnetlink())
})
afterAll(() => {
  rtnetlink.close()
  namespace[Symbol.dispose]()
})

function link(device: string): Link {
  const found = rtnetlink.link(device)
  if (found === undefined) throw new Error(`there is no ${device}`)
  return found
}

describe('links', () => {
  test('are found by name and by index, with all that is known of them', () => {
    namespace.ip('link', 'set', 'veth0', 'address', '02:00:00:00:00:07', 'mtu', '1400')
    const found = link('veth0')
    const mac = MacAddress.parse('02:00:00:00:00:07')
    expect(found).toEqual({ name: 'veth0', index: found.index, mac, mtu: 1400, up: true, kind: 'veth' })
    expect(rtnetlink.link(found.index)).toEqual(found)
    expect(link('lo')).toMatchObject({ index: 1, kind: undefined })
  })

  test.each(['nonesuch', '', 'a-name-that-is-too-long'])('there is none with the name "%s"', (name) => {
    expect(rtnetlink.link(name)).toBeUndefined()
  })

  test('are brought down and up, and get a queue length', () => {
    const { index } = link('veth1')
    rtnetlink.setLink(index, { up: false })
    expect(link('veth1').up).toBe(false)
    rtnetlink.setLink(index, { up: true, queueLength: 77 })
    expect(link('veth1').up).toBe(true)
    expect(namespace.ip('link', 'show', 'veth1')).toContain('qlen 77')
    expect(errnoOf(() => rtnetlink.setLink(9999, { up: true }))).toBe('ENODEV')
  })
})

describe('addresses', () => {
  test.each([
    ['198.51.100.1', 32],
    ['198.51.100.2', 24],
    ['2001:db8::1', 128],
  ])('%s/%d is added once, listed and removed once', (address, prefixLength) => {
    const { index } = link('lo')
    expect(rtnetlink.addAddress(index, { address, prefixLength }, { noDuplicateDetection: true })).toBe(true)
    expect(rtnetlink.addAddress(index, { address, prefixLength })).toBe(false)
    expect(rtnetlink.addresses(index)).toContainEqual({ address, prefixLength })
    expect(namespace.ip('addr', 'show', 'lo')).toContain(`${address}/${prefixLength}`)
    expect(rtnetlink.removeAddress(index, { address, prefixLength })).toBe(true)
    expect(rtnetlink.removeAddress(index, { address, prefixLength })).toBe(false)
    expect(rtnetlink.addresses(index)).not.toContainEqual({ address, prefixLength })
  })

  test('without duplicate address detection an IPv6 address can be used at once', () => {
    const { index } = link('veth0')
    const address = { address: '2001:db8:1::1', prefixLength: 64 }
    rtnetlink.addAddress(index, address, { noDuplicateDetection: true })
    expect(namespace.ip('addr', 'show', 'veth0')).not.toMatch(/2001:db8:1::1.*tentative/)
    rtnetlink.removeAddress(index, address)
  })

  test('a refusal carries errno and the words of the kernel', () => {
    const { index } = link('lo')
    const add = () => rtnetlink.addAddress(index, { address: '198.51.100.3', prefixLength: 77 })
    expect(errnoOf(add)).toBe('EINVAL')
    expect(add).toThrow(/RTM_NEWADDR 198.51.100.3\/77 .*the kernel says "/)
    expect(errnoOf(() => rtnetlink.addAddress(9999, { address: '198.51.100.3', prefixLength: 32 }))).toBe('ENODEV')
    expect(errnoOf(() => rtnetlink.addAddress(index, { address: 'nonsense', prefixLength: 32 }))).toBe('EINVAL')
  })
})

test('a neighbour is found', () => {
  const { index } = link('veth0')
  namespace.ip('neigh', 'add', '203.0.113.9', 'lladdr', '02:00:00:00:00:09', 'dev', 'veth0', 'nud', 'permanent')
  const mac = MacAddress.parse('02:00:00:00:00:09')
  expect(rtnetlink.neighbour(index, '203.0.113.9')).toEqual({ mac, state: 0x80 })
  expect(rtnetlink.neighbour(index, '203.0.113.10')).toBeUndefined()
})

test('filters of both hooks are listed', () => {
  const { index } = link('veth0')
  expect(rtnetlink.filters(index, 'ingress')).toEqual([])
  namespace.tc('qdisc', 'add', 'dev', 'veth0', 'clsact')
  expect(rtnetlink.filters(index, 'ingress')).toEqual([])
  namespace.tc('filter', 'add', 'dev', 'veth0', 'egress', 'pref', '9', 'u32', 'match', 'u32', '0', '0')
  expect(rtnetlink.filters(index, 'ingress')).toEqual([])
  expect(rtnetlink.filters(index, 'egress')).toContainEqual({
    priority: 9,
    handle: 0,
    kind: 'u32',
    programId: undefined,
  })
  namespace.tc('qdisc', 'del', 'dev', 'veth0', 'clsact')
})

test('settings are read and written; a wrong name or value is refused', () => {
  namespace.inside(() => {
    writeSysctl('ipv4/conf/veth0/arp_ignore', 1)
    expect(readSysctl('ipv4/conf/veth0/arp_ignore')).toBe('1')
    expect(errnoOf(() => readSysctl('ipv4/conf/nonesuch/arp_ignore'))).toBe('ENOENT')
    expect(errnoOf(() => writeSysctl('ipv4/conf/veth0/arp_ignore', 'many'))).toBe('EINVAL')
    expect(errnoOf(() => readSysctl('../kernel/hostname'))).toBe('EINVAL')
  })
})

test('a closed socket is not used, and no descriptor is left', () => {
  const before = openSocketsOf(AF_NETLINK)
  const closed = new Rtnetlink()
  closed.close()
  closed.close()
  expect(errnoOf(() => closed.link('lo'))).toBe('EBADF')
  expect(openSocketsOf(AF_NETLINK)).toBe(before)
})
