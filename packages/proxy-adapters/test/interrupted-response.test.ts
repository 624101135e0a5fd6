import { describe, expect, test } from 'bun:test'
import { CodecError } from '@xoffload/core'
import {
  decodeInterruptedResponse,
  encodeInterruptedResponse,
  HttpServerError,
  type InterruptedResponse,
  MAXIMUM_INTERRUPTED_RESPONSE_LENGTH,
  MAXIMUM_STATE_LENGTH,
  resumable,
} from '@xoffload/proxy-adapters/bun'
import fc from 'fast-check'

const MAXIMUM_CONTENT_LENGTH = 999_999_999_999_999
const state = fc.uint8Array({ maxLength: 300 })
const offset = fc.integer({ min: 0, max: MAXIMUM_CONTENT_LENGTH - 1 })
const interrupted: fc.Arbitrary<InterruptedResponse> = fc.oneof(
  fc.tuple(offset, offset).chain(([one, other]) =>
    fc.record({
      state,
      offset: fc.constant(Math.min(one, other)),
      framing: fc.constant({ kind: 'length' as const, contentLength: Math.max(one, other) + 1 }),
      keepAlive: fc.boolean(),
    }),
  ),
  fc.record({ state, offset, framing: fc.constant({ kind: 'chunked' as const }), keepAlive: fc.boolean() }),
  fc.record({ state, offset, framing: fc.constant({ kind: 'close' as const }), keepAlive: fc.constant(false) }),
)

const sample: InterruptedResponse = {
  state: new Uint8Array([1, 2, 3]),
  offset: 10,
  framing: { kind: 'length', contentLength: 11 },
  keepAlive: true,
}

describe('the encoding of an interrupted response', () => {
  test('is undone by decoding', () => {
    fc.assert(
      fc.property(interrupted, (response) => {
        expect(decodeInterruptedResponse(encodeInterruptedResponse(response))).toEqual(response)
      }),
      { numRuns: 2000 },
    )
  })

  test('has one form: whatever decodes encodes to the same bytes, and all else is a CodecError', () => {
    const mutated = fc
      .tuple(interrupted, fc.nat(400), fc.nat(255), fc.integer({ min: -3, max: 3 }))
      .map(([response, at, value, change]) => {
        const bytes = encodeInterruptedResponse(response)
        const longer = new Uint8Array(Math.max(0, bytes.length + change))
        longer.set(bytes.subarray(0, longer.length))
        if (longer.length > 0) longer[at % longer.length] = value
        return longer
      })
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 64 })), (bytes) => {
        let decoded: InterruptedResponse
        try {
          decoded = decodeInterruptedResponse(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError)
          return
        }
        expect(encodeInterruptedResponse(decoded)).toEqual(bytes)
      }),
      { numRuns: 20_000 },
    )
  })

  test('has room for the longest state, and not for more', () => {
    const longest = encodeInterruptedResponse({ ...sample, state: new Uint8Array(MAXIMUM_STATE_LENGTH) })
    expect(longest.length).toBe(MAXIMUM_INTERRUPTED_RESPONSE_LENGTH)
    expect(decodeInterruptedResponse(longest).state.length).toBe(MAXIMUM_STATE_LENGTH)
    const tooLong = new Uint8Array(MAXIMUM_STATE_LENGTH + 1)
    expect(() => encodeInterruptedResponse({ ...sample, state: tooLong })).toThrow(CodecError)
    expect(() => resumable(new Response('x'), tooLong)).toThrow(HttpServerError)
  })

  test('does not allocate what a length only claims', () => {
    const bytes = encodeInterruptedResponse({ ...sample, state: new Uint8Array(0) })
    new DataView(bytes.buffer).setUint32(bytes.length - 4, 0xffff_ffff)
    expect(() => decodeInterruptedResponse(bytes)).toThrow('at most')
  })

  test.each([
    ['an offset at the end', { offset: 11 }],
    ['an offset that is no whole number', { offset: 0.5 }],
    ['a content length beyond 15 digits', { framing: { kind: 'length' as const, contentLength: 1e15 } }],
    ['a kept connection that ends', { framing: { kind: 'close' as const } }],
  ])('refuses %s', (_, wrong) => {
    expect(() => encodeInterruptedResponse({ ...sample, ...wrong })).toThrow(CodecError)
  })

  test('does not share memory with what it was decoded from', () => {
    const bytes = encodeInterruptedResponse(sample)
    const { state } = decodeInterruptedResponse(bytes)
    bytes.fill(0)
    expect(state).toEqual(sample.state)
  })
})
