import { CodecError } from '@xoffload/core'
import {
  type FuzzTarget,
  must,
  mustEqualBytes,
  mutated,
  type Random,
  resultOrRefusal,
} from '../../../core/test/support/fuzz/index.ts'
import { decodeDiagnosticCookie, decodeDiagnosticFlow, diagnosticMessages } from '../../src/sock-diag/message.ts'

const MESSAGE = 72
const HEADER = 16

/** Up to three events of destroyed sockets, with an attribute each. */
function datagram(random: Random): Uint8Array {
  const messages = Array.from({ length: 1 + random.below(3) }, () => {
    const message = new Uint8Array(HEADER + (random.oneIn(4) ? 4 * random.below(20) : MESSAGE + 8))
    const view = new DataView(message.buffer)
    message.set(random.bytes(message.length - HEADER), HEADER)
    view.setUint32(0, message.length, true)
    view.setUint16(4, 20, true)
    const family = random.pick([2, 10])
    if (message.length === HEADER) return message
    view.setUint8(HEADER, family)
    // Behind an IPv4 address the kernel leaves zeros.
    if (family === 2) message.fill(0, HEADER + 12, HEADER + 24).fill(0, HEADER + 28, HEADER + 40)
    return message
  })
  return Uint8Array.from(messages.flatMap((message) => [...message]))
}

/** What the kernel tells of destroyed sockets. */
export const socketDiagnostics: FuzzTarget = {
  name: 'sock-diag',
  generate: (random) => mutated(random, [datagram(random), datagram(random)]),
  check(input) {
    const found = resultOrRefusal(() => diagnosticMessages(input), CodecError)
    if (found instanceof CodecError) return
    must(
      found.reduce((sum, message) => sum + HEADER + message.length, 0) <= input.length,
      'messages have no more bytes than their datagram',
    )
    for (const message of found) {
      const flow = resultOrRefusal(() => decodeDiagnosticFlow(message), CodecError)
      if (flow instanceof CodecError) continue
      decodeDiagnosticCookie(message)
      if (flow === undefined) continue
      mustEqualBytes(flow.bytes.subarray(32, 34), message.subarray(6, 8), "the client's port")
      mustEqualBytes(flow.bytes.subarray(34, 36), message.subarray(4, 6), "the service's port")
      const address = flow.bytes.subarray(12, 16)
      mustEqualBytes(address, message[0] === 2 ? message.subarray(24, 28) : message.subarray(36, 40), 'its address')
    }
  },
}
