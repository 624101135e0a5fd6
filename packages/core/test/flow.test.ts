import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { CodecError, FlowKey, MacAddress, serviceFilter } from '../src/index.ts'
import { flow } from './support/arbitraries.ts'

describe('flow key', () => {
  test('is the same from its bytes and from its endpoints', () => {
    fc.assert(
      fc.property(flow, (key) => {
        for (const other of [FlowKey.from(key.bytes), FlowKey.of(key.client, key.service)]) {
          expect(other.equals(key)).toBe(true)
          expect(other.id).toBe(key.id)
          expect(other.toString()).toBe(key.toString())
        }
      }),
    )
  })

  test('has the layout that rule tables use', () => {
    const key = FlowKey.of({ address: '192.0.2.1', port: 40_000 }, { address: '198.51.100.2', port: 80 })
    expect(Buffer.from(key.bytes).toString('hex')).toBe(
      `${'00'.repeat(10)}ffffc0000201${'00'.repeat(10)}ffffc63364029c400050`,
    )
    expect([key.family, `${key}`]).toEqual([4, '192.0.2.1:40000>198.51.100.2:80'])
    const six = FlowKey.of({ address: '2001:db8::1', port: 1 }, { address: '2001:db8::2', port: 65_535 })
    expect([six.family, `${six}`]).toEqual([6, '[2001:db8::1]:1>[2001:db8::2]:65535'])
  })

  test('knows an IPv4-mapped address from an IPv4-compatible one', () => {
    const of = (address: string) => FlowKey.of({ address, port: 1 }, { address, port: 2 })
    expect(of('::ffff:192.0.2.1').client.address).toBe('192.0.2.1')
    expect(of('::192.0.2.1').client.address).toBe('::c000:201')
    expect(of('::1').client.address).toBe('::1')
  })

  test('keeps flows apart that differ in one byte, and is not changed by its source', () => {
    const key = FlowKey.of({ address: '192.0.2.1', port: 2 }, { address: '192.0.2.2', port: 3 })
    const bytes = key.bytes.slice()
    const copy = FlowKey.from(bytes)
    for (const at of [15, 31, 33, 35]) {
      bytes[at] = 9
      expect(FlowKey.from(bytes).equals(key)).toBe(false)
    }
    expect(copy.equals(key)).toBe(true)
  })

  test.each([
    ['a name', 'example.com', '192.0.2.1', 1],
    ['a zone', 'fe80::1%eth0', 'fe80::2', 1],
    ['mixed families', '192.0.2.1', '2001:db8::1', 1],
    ['port 0', '192.0.2.1', '192.0.2.2', 0],
    ['port 65536', '192.0.2.1', '192.0.2.2', 65_536],
    ['port 1.5', '192.0.2.1', '192.0.2.2', 1.5],
  ])('refuses %s', (_what, client, service, port) => {
    expect(() => FlowKey.of({ address: client, port }, { address: service, port: 80 })).toThrow(CodecError)
  })

  test('refuses bytes that are no flow key', () => {
    const { bytes } = FlowKey.of({ address: '192.0.2.1', port: 2 }, { address: '192.0.2.2', port: 3 })
    expect(() => FlowKey.from(bytes.subarray(1))).toThrow('36 bytes')
    expect(() => FlowKey.from(bytes.with(10, 0))).toThrow('different families')
    expect(() => FlowKey.from(bytes.with(33, 0))).toThrow('port 0')
  })
})

describe('a filter for services', () => {
  const client = (address: string) => ({ address: address.includes(':') ? '2001:db8::7' : '203.0.113.7', port: 40_000 })
  const keyOf = (address: string, port: number) => FlowKey.of(client(address), { address, port })

  test('lets the flows of the services pass, however their addresses are written, and no others', () => {
    const serves = serviceFilter([
      { address: '192.0.2.1', port: 80 },
      { address: '2001:DB8:0::1', port: 443 },
    ])
    const right = [keyOf('192.0.2.1', 80), keyOf('2001:db8::1', 443)]
    expect(right.map(serves)).toEqual([true, true])
    const other = [keyOf('192.0.2.2', 80), keyOf('192.0.2.1', 81), keyOf('192.0.2.1', 336), keyOf('192.0.2.1', 443)]
    expect([...other, keyOf('2001:db8::2', 443), keyOf('2001:db8::1', 80)].some(serves)).toBe(false)
    expect(serves(FlowKey.of({ address: '192.0.2.1', port: 80 }, { address: '192.0.2.9', port: 80 }))).toBe(false)
    expect(serviceFilter([])(keyOf('192.0.2.1', 80))).toBe(false)
  })

  test('is for addresses only', () => {
    expect(() => serviceFilter([{ address: 'example.com', port: 80 }])).toThrow(CodecError)
    expect(() => serviceFilter([{ address: '192.0.2.1', port: 0 }])).toThrow(CodecError)
  })
})

test('a MAC address is read, shown and compared; others are refused', () => {
  const mac = MacAddress.parse('02:00:5E:10:00:01')
  expect(mac.toString()).toBe('02:00:5e:10:00:01')
  expect(mac.equals(MacAddress.from(mac.bytes))).toBe(true)
  expect(mac.equals(MacAddress.parse('02:00:5e:10:00:02'))).toBe(false)
  for (const text of ['', '02:00:5e:10:00', '02:00:5e:10:00:0g', '02-00-5e-10-00-01', '02:00:5e:10:00:01:02']) {
    expect(() => MacAddress.parse(text)).toThrow(CodecError)
  }
  expect(() => MacAddress.from(new Uint8Array(5))).toThrow(CodecError)
})
