import { CodecError } from '@xoffload/core'
import {
  type FuzzTarget,
  mustEqualBytes,
  mutated,
  type Random,
  resultOrRefusal,
} from '../../../core/test/support/fuzz/index.ts'
import {
  decodeInterruptedResponse,
  encodeInterruptedResponse,
  type InterruptedResponse,
} from '../../src/bun/interrupted-response.ts'

function response(random: Random): Uint8Array {
  const offset = random.u32()
  const framing: InterruptedResponse['framing'] = random.oneIn(2)
    ? { kind: 'length', contentLength: offset + 1 + random.u32() }
    : { kind: 'chunked' }
  return encodeInterruptedResponse({
    state: random.bytes(random.length(60)),
    offset,
    framing,
    keepAlive: random.oneIn(2),
  })
}

/** What one server tells the next about a response that it has begun. One response has one encoding. */
export const interruptedResponses: FuzzTarget = {
  name: 'interrupted-response',
  share: 0.5,
  generate: (random) => mutated(random, [response(random), response(random)]),
  check(input) {
    const decoded = resultOrRefusal(() => decodeInterruptedResponse(input), CodecError)
    if (!(decoded instanceof CodecError)) mustEqualBytes(encodeInterruptedResponse(decoded), input, 'encoded again')
  },
}
