import { isIP } from 'node:net'
import { FlowKey } from '@xoffload/core'
import {
  type FuzzTarget,
  must,
  mustEqualBytes,
  mutated,
  type Random,
  resultOrRefusal,
} from '../../../core/test/support/fuzz/index.ts'
import { LinuxError } from '../../src/errno.ts'
import { ipAddressBytes, ipAddressText } from '../../src/netlink/ip-address.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const words = ['::', ':', '.', '%eth0', '::ffff:', '1.2.3.4', 'ffff', '0', '00000', ' '].map((word) =>
  encoder.encode(word),
)

function text(random: Random): Uint8Array {
  const bytes = random.bytes(random.pick([4, 16]))
  if (random.oneIn(2)) bytes.fill(0, random.below(bytes.length))
  return encoder.encode(ipAddressText(bytes))
}

/** An IP address as text, and its bytes as text again. */
export const ipAddresses: FuzzTarget = {
  name: 'ip-address',
  generate: (random) => mutated(random, [text(random), text(random)], words),
  check(input) {
    const written = decoder.decode(input)
    const bytes = resultOrRefusal(() => ipAddressBytes(written), LinuxError)
    if (bytes instanceof LinuxError) {
      must(isIP(written) === 0 || written.includes('%'), 'an address is refused')
    } else {
      must(bytes.length === 4 || bytes.length === 16, 'an address has 4 or 16 bytes')
      mustEqualBytes(ipAddressBytes(ipAddressText(bytes)), bytes, 'the usual form is the same address')
      const endpoint = { address: written, port: 1 }
      const other = FlowKey.of(endpoint, endpoint).bytes.subarray(16 - bytes.length, 16)
      mustEqualBytes(bytes, other, 'another parser reads another address')
    }
    if (input.length !== 4 && input.length !== 16) return
    mustEqualBytes(ipAddressBytes(ipAddressText(input)), input, 'bytes, text, bytes')
  },
}
