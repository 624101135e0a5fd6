import { expect, test } from 'bun:test'
import { decodeCapabilities } from '../src/capabilities.ts'

test('a mask is decoded by the numbers of include/uapi/linux/capability.h', () => {
  expect([...decodeCapabilities(1n << 12n)]).toEqual(['CAP_NET_ADMIN'])
  expect([...decodeCapabilities((1n << 39n) | (1n << 21n) | 1n)]).toEqual(['CAP_CHOWN', 'CAP_SYS_ADMIN', 'CAP_BPF'])
  expect(decodeCapabilities(0n).size).toBe(0)
  expect(decodeCapabilities(2n ** 64n - 1n).size).toBe(41)
})
