import { describe, expect, test } from 'bun:test'
import { BodyDecoder, type BodyFraming, type BodyLimits } from '@xoffload/proxy-adapters/http'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const CHUNKED: BodyFraming = { kind: 'chunked' }
const length = (contentLength: number): BodyFraming => ({ kind: 'length', contentLength })

interface Outcome {
  readonly content: string
  readonly consumed: number
  readonly done: boolean
  readonly status: number | undefined
}

/** Feeds `text` in pieces of `size` bytes. */
function decode(framing: BodyFraming, text: string, size = text.length, limits: Partial<BodyLimits> = {}): Outcome {
  const decoder = new BodyDecoder(framing, limits)
  let content = ''
  let consumed = 0
  for (let at = 0; at < text.length || at === 0; at += Math.max(size, 1)) {
    const progress = decoder.push(bytes(text.slice(at, at + size)))
    if (progress.kind === 'error') return { content, consumed, done: decoder.done, status: progress.status }
    for (const part of progress.content) content += Buffer.from(part).toString('latin1')
    consumed += progress.consumed
    if (progress.done) break
  }
  return { content, consumed, done: decoder.done, status: undefined }
}

describe('a body with a length', () => {
  test.each([1, 2, 5, 100])('ends after its length, in pieces of %d', (size) => {
    expect(decode(length(5), 'helloGET', size)).toEqual({
      content: 'hello',
      consumed: 5,
      done: true,
      status: undefined,
    })
  })

  test('of 0 is done at once', () => {
    expect(new BodyDecoder(length(0)).done).toBe(true)
    expect(new BodyDecoder({ kind: 'none' }).done).toBe(true)
    expect(decode({ kind: 'none' }, 'GET').consumed).toBe(0)
  })

  test('above the limit is refused before it comes', () => {
    expect(decode(length(11), '', 1, { bodySize: 10 }).status).toBe(413)
    expect(decode(length(10), '0123456789', 3, { bodySize: 10 }).done).toBe(true)
  })
})

describe('a chunked body', () => {
  const text = '5\r\nhello\r\n006;a=b;c="d"\r\n world\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1 \r\nY:2\r\n\r\nGET'

  test.each([1, 2, 3, 7, 1000])('is decoded in pieces of %d', (size) => {
    expect(decode(CHUNKED, text, size)).toEqual({
      content: 'hello world0123456789',
      consumed: text.length - 3,
      done: true,
      status: undefined,
    })
  })

  test('has trailers when it is done', () => {
    const decoder = new BodyDecoder(CHUNKED)
    decoder.push(bytes(text.slice(0, -6)))
    expect(decoder.trailers).toEqual([])
    decoder.push(bytes(text.slice(-6)))
    expect(decoder.trailers).toEqual([
      ['X-Sum', '1'],
      ['Y', '2'],
    ])
    expect(decoder.received).toBe(21)
  })

  test.each([
    ['no digits', '\r\n'],
    ['a sign', '+5\r\nhello\r\n'],
    ['0x', '0x5\r\nhello\r\n'],
    ['a space behind the size', '5 \r\nhello\r\n'],
    ['a space in front of the size', ' 5\r\nhello\r\n'],
    ['a space in front of an extension', '5 ;a\r\nhello\r\n'],
    ['a size that ends with LF', '5\nhello\r\n'],
    ['a size that ends with CR', '5\rhello\r\n'],
    ['an extension that ends with LF', '5;a\nhello\r\n'],
    ['a control character in an extension', '5;a\0\r\nhello\r\n'],
    ['a chunk that is longer than its size', '5\r\nhello!\r\n'],
    ['a chunk that ends with LF', '5\r\nhello\n'],
    ['a chunk that ends with CR', '5\r\nhello\r0'],
    ['a size beyond 2^53', '20000000000000\r\n'],
    ['a trailer without colon', '0\r\nabc\r\n\r\n'],
    ['a folded trailer', '0\r\na: b\r\n c\r\n\r\n'],
    ['a trailer with a bare LF', '0\r\na: b\n\r\n'],
    ['a trailer with a space in front of the colon', '0\r\na : b\r\n\r\n'],
    ['an end with LF', '0\r\n\n'],
    ['an end with a bare CR', '0\r\n\rX'],
  ])('with %s is refused', (_, malformed) => {
    for (const size of [1, 3, 1000])
      expect(decode(CHUNKED, malformed, size)).toMatchObject({ done: false, status: 400 })
  })

  test('is limited in content, extensions, lines and trailers', () => {
    expect(decode(CHUNKED, '6\r\nabcdef\r\n5\r\n', 1, { bodySize: 10 }).status).toBe(413)
    expect(decode(CHUNKED, `1;${'a'.repeat(300)}`).status).toBe(400)
    expect(decode(CHUNKED, `1;${'a'.repeat(200)}\r\nx\r\n`.repeat(100)).status).toBe(413)
    expect(decode(CHUNKED, `0\r\n${'a: b\r\n'.repeat(2000)}`).status).toBe(431)
  })

  test('stays refused', () => {
    const decoder = new BodyDecoder(CHUNKED)
    expect(decoder.push(bytes('x')).kind).toBe('error')
    expect(decoder.push(bytes('0\r\n\r\n')).kind).toBe('error')
    expect(decoder.done).toBe(false)
  })
})
