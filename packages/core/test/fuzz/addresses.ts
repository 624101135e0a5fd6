import fc from 'fast-check'
import { CodecError, FlowKey, MacAddress } from '../../src/index.ts'
import { flow } from '../support/arbitraries.ts'
import { corpusOf, type FuzzTarget, must, mustEqualBytes, mutated, resultOrRefusal } from '../support/fuzz/index.ts'

const keys = corpusOf((seed) => fc.sample(flow, { seed, numRuns: 64 }).map(({ bytes }) => bytes))

/** The bytes of a flow. Its text form names the same flow. */
export const flowKeys: FuzzTarget = {
  name: 'flow-key',
  generate: (random) => mutated(random, keys(random)),
  check(input) {
    const key = resultOrRefusal(() => FlowKey.from(input), CodecError)
    if (key instanceof CodecError) return
    mustEqualBytes(key.bytes, input, 'the bytes of a flow')
    mustEqualBytes(FlowKey.of(key.client, key.service).bytes, input, 'read from its own text')
    must(key.equals(FlowKey.from(key.bytes)) && key.toString().length < 120, 'a flow equals itself')
  },
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const addresses = corpusOf((seed) =>
  fc
    .sample(fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), { seed, numRuns: 64 })
    .map((text) => encoder.encode(text)),
)
const addressWords = ['::', ':', '.', '%eth0', '::ffff:', '0x', '1.2.3.4', 'g', '00000'].map((word) =>
  encoder.encode(word),
)

/** An address as text. */
export const flowTexts: FuzzTarget = {
  name: 'address-text',
  generate: (random) => mutated(random, addresses(random), addressWords),
  check(input) {
    const address = decoder.decode(input)
    const port = 1 + (input.length % 65_535)
    const key = resultOrRefusal(() => FlowKey.of({ address, port }, { address, port }), CodecError)
    if (key instanceof CodecError) return
    mustEqualBytes(FlowKey.of(key.client, key.service).bytes, key.bytes, 'the usual form is the same address')
    must(key.client.port === port, 'the port is kept')
    must(!address.includes('%'), 'an address with a zone, which a flow has not')
  },
}

const macs = corpusOf((seed) =>
  fc
    .sample(fc.uint8Array({ minLength: 6, maxLength: 6 }), { seed, numRuns: 32 })
    .map((bytes) => encoder.encode(MacAddress.from(bytes).toString())),
)

/** An Ethernet address as text. */
export const macTexts: FuzzTarget = {
  name: 'mac-text',
  share: 0.2,
  generate: (random) => mutated(random, macs(random), [encoder.encode(':'), encoder.encode('0A:')]),
  check(input) {
    const text = decoder.decode(input)
    const mac = resultOrRefusal(() => MacAddress.parse(text), CodecError)
    if (!(mac instanceof CodecError)) must(mac.toString() === text.toLowerCase(), 'written as it was read')
  },
}
