// What a redirector does not have is tested as absent.
import { expect, test } from 'bun:test'
import { TCP } from '@xoffload/core/conformance'
import { device } from '../template/test/device.ts'
import { plainNic } from './support/plain-nic.ts'
import { runSuite } from './support/run-suite.ts'

test('a NIC that cannot hold passes, and what it has not is named with a reason', async () => {
  const results = await runSuite(plainNic, '')
  expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([])
  const reasons = new Map(results.filter(({ outcome }) => outcome === 'absent').map((each) => [each.test, each.reason]))
  expect(reasons.get('hold')).toBe('manifest: it does not hold')
  expect(reasons.get('are those with SYN, FIN and RST too (IPv4)')).toBe('manifest: it does not hold')
  expect(reasons.get('a steer rule that says "ended" keeps it')).toBe('the card only rewrites and forwards')
  expect(results.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(80)
}, 120_000)

test('one that takes the beginnings of connections from the redirector underneath fails', async () => {
  const results = await runSuite(() => plainNic({ beginsAndEnds: TCP.SYN }), 'are those with SYN, FIN and RST too')
  expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'failed'])
})

test('one that takes packets for other hosts fails, although its rules are only accepted', async () => {
  const results = await runSuite(() => plainNic({ promiscuous: true }), 'another destination MAC address')
  expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'failed'])
})

test('one that steers no packets with VLAN tags, and says so, is seen not to', async () => {
  const names = [4, 6].flatMap((family) =>
    [
      'get other MAC addresses and nothing else, with 1 VLAN tags',
      'get other MAC addresses and nothing else, with 2 VLAN tags',
      'are counted with their VLAN tags',
    ].map((name) => `packets that are steered: ${name} (IPv${family})`),
  )
  const absences = Object.fromEntries(names.map((name) => [name, 'no tags']))
  const outcomes = async (untaggedOnly: boolean) =>
    (await runSuite(() => plainNic({ untaggedOnly }), 'VLAN tags', absences))
      .filter(({ group, test }) => names.includes(`${group}: ${test}`))
      .map(({ outcome }) => outcome)
  expect(await outcomes(true)).toEqual(names.map(() => 'absent'))
  expect(await outcomes(false)).toEqual(names.map(() => 'failed'))
})

test('without a network and a way to kill an owner, the tests that need them are absent', async () => {
  const bare = () => {
    const { redirector } = device()
    return { redirector }
  }
  const results = await runSuite(bare, 'a')
  expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([])
  const reasons = new Set(results.map(({ reason }) => reason))
  expect(reasons).toContain('the factory gives no network')
  expect(reasons).toContain('the factory has no way to kill an owner')
}, 60_000)
