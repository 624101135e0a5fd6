/** The soak's own oracle: it must see everything that can be wrong with a response. */
import { describe, expect, test } from 'bun:test'
import { rampBytes } from '../src/ramp/ramp.ts'
import { type ExpectedResponse, ResponseReader } from '../src/soak/response-reader.ts'

const RAMP: ExpectedResponse = { start: 7, length: 1000 }
const body = Buffer.from(rampBytes(7, 1000)).toString('latin1')
const whole = `HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${body}`
const chunked = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n${body}\r\n0\r\n\r\n`
const parts = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n${body.slice(0, 100)}\r\n384\r\n${body.slice(100)}\r\n0\r\n\r\n`
const text = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

/** Gives the reader the text in pieces of a size; returns how many responses are missing at the end. */
function read(expected: readonly ExpectedResponse[], content: string, size: number): number {
  const reader = new ResponseReader()
  for (const response of expected) reader.expect(response)
  const bytes = Buffer.from(content, 'latin1')
  for (let at = 0; at < bytes.length; at += size) reader.take(bytes.subarray(at, at + size))
  return reader.outstanding
}

describe.each([1, 2, 3, 50, 100_000])('in pieces of %d bytes', (size) => {
  test.each([
    ['a length', whole],
    ['one chunk', chunked],
    ['chunks', parts],
  ])('a right response with %s', (_name, content) => {
    expect(read([RAMP], content, size)).toBe(0)
    expect(read([RAMP], content.slice(0, -1), size)).toBe(1)
  })

  test('several responses, empty ones too', () => {
    const empty = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    const emptyChunks = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    const nothing = { start: 0, length: 0 }
    const expected = [RAMP, nothing, { text: 'hello' }, nothing, RAMP]
    expect(read(expected, whole + empty + text + emptyChunks + chunked, size)).toBe(0)
  })

  test.each([
    ['a wrong byte', whole.replace('\x50', '\x51')],
    ['a lost byte', `${whole.slice(0, 300)}${whole.slice(301)}x`],
    ['a repeated byte', `${whole.slice(0, 300)}${whole.slice(299)}`],
    ['the ramp from elsewhere', whole.replace(body, `${body.slice(1)}x`)],
    ['a wrong length', whole.replace('1000', '1001')],
    ['too many chunks', parts.replace('0\r\n\r\n', '1\r\nx\r\n0\r\n\r\n')],
    ['too few chunks', `${parts.slice(0, parts.indexOf('384\r\n'))}0\r\n\r\n`],
    ['no end of a chunk', chunked.replace(`${body}\r\n`, `${body}x\r\n`)],
    ['an error', whole.replace('200', '502')],
    ['another protocol', `x${whole}`],
    ['a second response', whole + whole],
    ['a byte after it', `${whole}x`],
  ])('%s is seen', (_name, content) => {
    expect(() => read([RAMP], content, size)).toThrow()
  })

  test('a wrong text is seen', () => {
    expect(() => read([{ text: 'hallo' }], text, size)).toThrow('instead of "hallo"')
  })
})
