import { expect, test } from 'bun:test'
import { LinuxError } from '@xoffload/linux'
import { ipAddressBytes, ipAddressText } from '../src/netlink/ip-address.ts'

test.each([
  ['192.0.2.1', [192, 0, 2, 1]],
  ['::', new Array(16).fill(0)],
  ['::1', [...new Array(15).fill(0), 1]],
  ['2001:db8::1', [0x20, 0x01, 0x0d, 0xb8, ...new Array(11).fill(0), 1]],
  ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
  ['fe80::1:0:0:2', [0xfe, 0x80, ...new Array(7).fill(0), 1, 0, 0, 0, 0, 0, 2]],
  ['1::', [0, 1, ...new Array(14).fill(0)]],
])('%s survives both ways', (text, bytes) => {
  expect(Array.from(ipAddressBytes(text))).toEqual(bytes)
  expect(ipAddressBytes(ipAddressText(Uint8Array.from(bytes)))).toEqual(Uint8Array.from(bytes))
})

test('an IPv4 address at the end of an IPv6 address is read', () => {
  expect(ipAddressText(ipAddressBytes('::ffff:192.0.2.1'))).toBe('::ffff:c000:201')
})

test('the text is that of RFC 5952', () => {
  expect(ipAddressText(ipAddressBytes('2001:DB8:0:0:1:0:0:1'))).toBe('2001:db8::1:0:0:1')
  expect(ipAddressText(ipAddressBytes('2001:db8:0:1:1:1:1:1'))).toBe('2001:db8:0:1:1:1:1:1')
})

test.each(['', '1.2.3', '1.2.3.256', ':::', 'fe80::1%eth0', 'localhost'])('"%s" is refused', (text) => {
  expect(() => ipAddressBytes(text)).toThrow(LinuxError)
})
