import fc from 'fast-check'
import {
  CodecError,
  encodeMessage,
  FRAME_HEADER_LENGTH,
  FrameDecoder,
  type Message,
  maximumFieldsLength,
} from '../../src/index.ts'
import { message } from '../support/arbitraries.ts'
import {
  corpusOf,
  type FuzzTarget,
  hashOf,
  must,
  mustEqualBytes,
  mutated,
  pieces,
  Random,
  resultOrRefusal,
} from '../support/fuzz/index.ts'

/** Streams of up to five messages. */
const corpus = corpusOf((seed) =>
  fc
    .sample(fc.array(message, { minLength: 1, maxLength: 5 }), { seed, numRuns: 32 })
    .map((several) => joined(several.map(encodeMessage))),
)

const LIMIT = 64

/** A stream of frames. It gives the same messages and the same error, however it is cut. */
export const frames: FuzzTarget = {
  name: 'frames',
  share: 0.3,
  generate: (random) => mutated(random, corpus(random)),
  check(input) {
    const random = new Random([hashOf(input)])
    // Every byte by itself: the messages before an error are all there.
    const whole = decode(Array.from(input, (_, index) => input.subarray(index, index + 1)))
    for (let times = 0; times < 3; times++) {
      const cut = decode(times === 0 ? [input] : pieces(input, random))
      must(cut.error?.message === whole.error?.message, `cut otherwise, it ends with ${cut.error?.message}`)
      const same = cut.messages.every((bytes, index) => Buffer.compare(bytes, whole.messages[index] ?? bytes) === 0)
      must(same && cut.messages.length <= whole.messages.length, 'cut otherwise, other messages come')
      must(cut.error !== undefined || cut.messages.length === whole.messages.length, 'cut otherwise, messages are lost')
    }
    const taken = joined(whole.messages)
    mustEqualBytes(taken, input.subarray(0, taken.length), 'encoded again')
    mustRefuseGreatFrames(input.subarray(taken.length), whole.error, Number.POSITIVE_INFINITY)
    const limited = decode([input], LIMIT)
    for (const bytes of limited.messages) must(bytes.length - 4 <= LIMIT, 'the limit of frames is kept')
    if (limited.error === undefined)
      mustRefuseGreatFrames(input.subarray(joined(limited.messages).length), undefined, LIMIT)
  },
}

/** A frame that is not complete is waited for only if it may become as long as it says. */
function mustRefuseGreatFrames(rest: Uint8Array, error: CodecError | undefined, limit: number): void {
  if (rest.length < FRAME_HEADER_LENGTH || error !== undefined) return
  const announced = new DataView(rest.buffer, rest.byteOffset).getUint32(0)
  const maximum = Math.min(maximumFieldsLength(rest[FRAME_HEADER_LENGTH - 1] ?? 0) + 1, limit)
  must(announced >= 1 && announced <= maximum, `a frame of ${announced} bytes is waited for`)
}

interface Decoded {
  /** Encoded again. */
  readonly messages: Uint8Array[]
  readonly error: CodecError | undefined
}

function decode(chunks: readonly Uint8Array[], maximumFrameLength?: number): Decoded {
  const decoder = new FrameDecoder(maximumFrameLength === undefined ? {} : { maximumFrameLength })
  const messages: Uint8Array[] = []
  let error: CodecError | undefined
  for (const chunk of chunks) {
    // A chunk is not kept: whoever owns the buffer uses it again.
    const lent = chunk.slice()
    const found: Message[] | CodecError = resultOrRefusal(() => decoder.push(lent), CodecError)
    lent.fill(0xff)
    if (found instanceof CodecError) {
      must(error === undefined || found === error, 'after an error, another one')
      error = found
    } else {
      must(error === undefined, 'after an error, messages')
      messages.push(...found.map(encodeMessage))
    }
  }
  return { messages, error }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  return result
}
