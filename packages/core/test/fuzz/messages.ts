import fc from 'fast-check'
import {
  CodecError,
  decodeFields,
  encodeMessage,
  FlowKey,
  FRAME_HEADER_LENGTH,
  MAXIMUM_HOST_LENGTH,
  MAXIMUM_REPORT_LENGTH,
  MacAddress,
  type Message,
  maximumFieldsLength,
  PROTOCOL_VERSION,
  REPORT_STATES,
} from '../../src/index.ts'
import { message } from '../support/arbitraries.ts'
import {
  corpusOf,
  type FuzzTarget,
  must,
  mustEqualBytes,
  mutated,
  type Random,
  resultOrRefusal,
} from '../support/fuzz/index.ts'

/** A byte order mark is a character like any other. */
const marked: Message = { type: 'refuse', handoff: 1, epoch: 2, reason: 'busy', text: '\ufeffbusy' }

/** The type and the fields of each message: a frame without its length. */
const corpus = corpusOf((seed) => [...fc.sample(message, { seed, numRuns: 64 }), marked].map(encoded))

function encoded(one: Message): Uint8Array {
  return encodeMessage(one).subarray(FRAME_HEADER_LENGTH - 1)
}

/** Text: a byte order mark, the longest and the shortest sequence of UTF-8, and what is none. */
const words = [[0xef, 0xbb, 0xbf], [0xf4, 0x8f, 0xbf, 0xbf], [0xc3, 0xa4], [0xff], [0xed, 0xa0, 0x80]].map((bytes) =>
  Uint8Array.from(bytes),
)

/** Where a report has the number of its connections (u16): behind type, nonce and whether it is the last. */
const REPORT_COUNT = 6

/** A report with as many connections as it may have, or with one more. */
function longReport(random: Random): Uint8Array {
  const flow = FlowKey.of({ address: '192.0.2.1', port: 1 }, { address: '192.0.2.2', port: 2 })
  const state = random.pick(REPORT_STATES)
  const report = (length: number): Uint8Array => {
    const connections = Array.from({ length }, (_, handoff) => ({ flow, handoff, epoch: 1, state }))
    return encoded({ type: 'report', nonce: 1, last: true, connections })
  }
  const full = report(MAXIMUM_REPORT_LENGTH)
  if (random.oneIn(2)) return full
  const longer = Uint8Array.of(...full, ...report(1).subarray(REPORT_COUNT + 2))
  new DataView(longer.buffer).setUint16(REPORT_COUNT, MAXIMUM_REPORT_LENGTH + 1)
  return longer
}

/** Where a greeting has its host's name: behind type and version. */
const HOST_LENGTH = 3

/** A greeting with a host's name that is as long as it may be, or one byte longer. */
function longHost(random: Random): Uint8Array {
  const host = 'h'.repeat(MAXIMUM_HOST_LENGTH)
  const mac = MacAddress.parse('02:00:00:00:00:01')
  const type = 'hello'
  const tunnel = { mode: 'vxlan', remote: '192.0.2.9', identifier: 1, port: 4789, mac } as const
  const hello = encoded({
    type,
    protocolVersion: PROTOCOL_VERSION,
    host,
    mac,
    instance: 1n,
    maximumHandoffs: 1,
    tunnel,
  })
  if (random.oneIn(2)) return hello
  const at = HOST_LENGTH + 2
  const longer = Uint8Array.of(...hello.subarray(0, at), 0x68, ...hello.subarray(at))
  new DataView(longer.buffer).setUint16(HOST_LENGTH, MAXIMUM_HOST_LENGTH + 1)
  return longer
}

const longest = [longReport, longHost]

/** The fields of one message. One message has one encoding. */
export const messages: FuzzTarget = {
  name: 'message',
  generate: (random) => (random.oneIn(500) ? random.pick(longest)(random) : mutated(random, corpus(random), words)),
  check(input) {
    const type = input[0] ?? 0
    const fields = input.subarray(1)
    const decoded = resultOrRefusal(() => decodeFields(type, fields), CodecError)
    if (decoded instanceof CodecError) return
    must(fields.length <= maximumFieldsLength(type), 'a message that no frame may carry')
    mustEqualBytes(encodeMessage(decoded).subarray(FRAME_HEADER_LENGTH - 1), input, 'encoded again')
  },
}
