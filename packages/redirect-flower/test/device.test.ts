// What is on the device: the pin, rules of earlier processes, filters of others.
import { describe, expect, test } from 'bun:test'
import { MacAddress } from '@xoffload/core'
import { addFlower, decodeFlower, type FlowerPlace, type ListedFlower } from '@xoffload/linux'
import type { FlowerRedirector } from '../src/index.ts'
import { FakeKernel } from './fake-kernel.ts'
import { makeFake, openFake } from './fake-nic.ts'
import { flow, steer } from './support.ts'

async function rules(redirector: FlowerRedirector) {
  const found = []
  for await (const { rule } of redirector.list()) found.push(rule)
  return found
}

const filtersOf = (kernel: FakeKernel): ListedFlower[] =>
  [...kernel.filters.values()].map(({ body }) => decodeFlower(body))

/** A filter that somebody else has put there. */
function addForeign(kernel: FakeKernel, priority: number, cookie?: Uint8Array): void {
  const place: FlowerPlace = { ifindex: 7, direction: 'ingress', chain: 0, priority, handle: 9 }
  const filter = { match: { family: 4 }, actions: [{ kind: 'mirred', ifindex: 7 }], offload: 'either' } as const
  const { body } = addFlower(place, { ...filter, ...(cookie === undefined ? {} : { cookie }) })
  kernel.clsact = true
  kernel.filters.set(`ingress 0 ${priority} 9`, { body, traffic: { packets: 0n, bytes: 0n, idleTicks: 0n } })
}

describe('the pin', () => {
  test('is there as long as the redirector is open, matches no packet, and is no rule', async () => {
    const kernel = new FakeKernel()
    const { redirector } = await openFake(kernel)
    const [pin, ...others] = filtersOf(kernel)
    expect(others).toEqual([])
    expect(pin).toMatchObject({
      place: { handle: 1, priority: 100 },
      match: { source: '0.0.0.0', destination: '0.0.0.0', tcpFlags: { value: 0, mask: 7 } },
      actions: [{ kind: 'pedit' }, { kind: 'mirred', action: { ifindex: 7 } }],
      offload: 'skip-software',
    })
    expect(await rules(redirector)).toEqual([])
    await redirector.close()
    expect([kernel.filters.size, kernel.clsact]).toEqual([0, false])
  })

  test('has the shape of the rules: a VLAN tag', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel, { vlan: 7 })
    await opened.redirector.put(steer(1))
    expect(filtersOf(kernel).map(({ match, place }) => [match?.vlan, place.priority])).toEqual([
      [7, 102],
      [7, 102],
    ])
  })
})

describe('a filter of a rule', () => {
  test('takes what belongs to the connection, and nothing that begins or ends it', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel)
    await opened.redirector.put(steer(1234))
    expect(filtersOf(kernel)[1]?.match).toEqual({
      family: 4,
      destinationMac: MacAddress.parse('02:00:00:00:00:01'),
      protocol: 'tcp',
      source: '192.0.2.1',
      destination: '198.51.100.1',
      sourcePort: 1234,
      destinationPort: 80,
      tcpFlags: { value: 0, mask: 7 },
      notFragmented: true,
    })
  })

  test('is in the table of its family, and keeps its handle when it is replaced', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel)
    const { redirector } = opened
    await redirector.put(steer(1))
    await redirector.put(steer(1, { flow: flow(1, 6) }))
    await redirector.put(steer(1, { target: { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:33') } }))
    const places = filtersOf(kernel)
      .slice(1)
      .map(({ place }) => [place.priority, place.handle])
    expect(places).toEqual([
      [100, 2],
      [101, 3],
    ])
  })

  test('of mode vxlan sets MAC addresses and the tunnel, and leaves by the tunnel device', async () => {
    const kernel = new FakeKernel()
    kernel.addDevice({ name: 'vxlan0', ifindex: 8, mac: MacAddress.parse('02:00:00:00:00:08') })
    await using opened = await openFake(kernel, { tunnel: 'vxlan0' })
    const { redirector } = opened
    const mac = MacAddress.parse('02:00:00:00:00:44')
    const target = { mode: 'vxlan', remote: '203.0.113.1', identifier: 0xabcdef, port: 4789, mac } as const
    await redirector.put(steer(1, { target }))
    expect(filtersOf(kernel)[1]?.actions.map(({ action }) => action)).toEqual([
      {
        kind: 'pedit',
        edits: [
          { field: 'eth-destination', value: mac },
          { field: 'eth-source', value: MacAddress.parse('02:00:00:00:00:08') },
        ],
      },
      {
        kind: 'tunnel_key',
        source: '203.0.113.254',
        destination: '203.0.113.1',
        identifier: 0xabcdef,
        destinationPort: 4789,
        checksum: false,
      },
      { kind: 'mirred', ifindex: 8 },
    ])
    expect(await rules(redirector)).toEqual([steer(1, { target })])
    const nowhere = { ...target, remote: '240.0.0.1' }
    await expect(redirector.put(steer(2, { target: nowhere }))).rejects.toMatchObject({ reason: 'busy' })
  })
})

describe('a device with filters', () => {
  test.each([100, 101, 102])(
    'of somebody else at priority %i is refused as busy, and left as it is',
    async (priority) => {
      const kernel = new FakeKernel()
      addForeign(kernel, priority)
      const redirector = makeFake(kernel)
      await expect(redirector.open()).rejects.toMatchObject({ reason: 'busy' })
      expect([kernel.filters.size, kernel.clsact]).toEqual([1, true])
    },
  )

  test('of somebody else at other priorities is taken, and they stay', async () => {
    const kernel = new FakeKernel()
    addForeign(kernel, 99, Uint8Array.of(1, 2, 3))
    addForeign(kernel, 103)
    const { redirector } = await openFake(kernel)
    await redirector.put(steer(1))
    await redirector.close()
    expect([...kernel.filters.keys()]).toEqual(['ingress 0 99 9', 'ingress 0 103 9'])
    expect(kernel.clsact).toBe(true)
  })

  test('keeps the qdisc that another has made', async () => {
    const kernel = new FakeKernel()
    kernel.clsact = true
    const { redirector } = await openFake(kernel)
    await redirector.close()
    expect(kernel.clsact).toBe(true)
  })

  test('of an earlier process is adopted, and the qdisc that it made is removed in the end', async () => {
    const kernel = new FakeKernel()
    const first = await openFake(kernel)
    const rule = steer(1, { handoff: { handoff: 2 ** 53 - 1, epoch: 2 ** 32 - 1 } })
    await first.redirector.put(rule)
    await first.redirector.release()
    expect(kernel.filters.size).toBe(2)
    const { redirector } = await openFake(kernel)
    expect(await rules(redirector)).toEqual([rule])
    // A handle that is taken is not given to another flow.
    await redirector.put(steer(2))
    expect(await redirector.remove(flow(1))).toBe(true)
    expect(await rules(redirector)).toEqual([steer(2)])
    await redirector.close()
    expect([kernel.filters.size, kernel.clsact]).toEqual([0, false])
  })

  test('of an earlier process that steered another VLAN gets rid of those', async () => {
    const kernel = new FakeKernel()
    const first = await openFake(kernel, { vlan: 5 })
    await first.redirector.put(steer(1))
    await first.redirector.release()
    await using opened = await openFake(kernel, { vlan: 6 })
    expect(await rules(opened.redirector)).toEqual([])
    expect(kernel.rules).toEqual([])
  })
})

test('rules for another MAC address, which the device had, are removed', async () => {
  const kernel = new FakeKernel()
  const first = await openFake(kernel)
  await first.redirector.put(steer(1))
  await first.redirector.release()
  kernel.addDevice({ name: 'nic0', ifindex: 7, mac: MacAddress.parse('02:00:00:00:00:09') })
  await using opened = await openFake(kernel)
  expect(await rules(opened.redirector)).toEqual([])
  expect(kernel.rules).toEqual([])
})

test('a rule that was taken away by somebody else is not there any more', async () => {
  const kernel = new FakeKernel()
  await using opened = await openFake(kernel)
  const { redirector } = opened
  await redirector.put(steer(1))
  kernel.filters.delete('ingress 0 100 2')
  expect(await redirector.counters(flow(1))).toBeUndefined()
  expect(await redirector.remove(flow(1))).toBe(false)
})

test('counters are those of the NIC, from the Ethernet header on, and wider than 32 bits', async () => {
  const kernel = new FakeKernel()
  await using opened = await openFake(kernel)
  const { redirector } = opened
  await redirector.put(steer(1))
  const packets = 2n ** 33n + 5n
  for (const filter of kernel.rules) filter.traffic = { packets, bytes: 1000n * packets, idleTicks: 250n }
  const expected = {
    packets,
    bytes: 1014n * packets,
    egressPackets: 0n,
    lastSeen: kernel.clock - 2_500_000_000n,
  }
  expect(await redirector.counters(flow(1))).toEqual(expected)
  for await (const { counters } of redirector.list()) expect(counters).toEqual(expected)
})

test('an exchange has no more requests than the NIC takes in ten milliseconds', async () => {
  const kernel = new FakeKernel()
  const { redirector } = await openFake(kernel)
  kernel.exchanges.length = 0
  await Promise.all(Array.from({ length: 300 }, (_, index) => redirector.put(steer(1 + index))))
  expect(Math.max(...kernel.exchanges)).toBe(64)
  await redirector.close()
})

describe.each([
  ['vlan', 4096],
  ['capacity', 0],
  ['priority', 0],
  ['priority', 65534],
  ['chain', -1],
] as const)('the option %s: %i', (name, value) => {
  test('is invalid', () => {
    expect(() => makeFake(new FakeKernel(), { [name]: value })).toThrow(`${name} is ${value}`)
  })
})
