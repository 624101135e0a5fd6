import { describe, expect, test } from 'bun:test'
import { parseRequestHead, RequestHeadParser } from '@xoffload/proxy-adapters/http'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const parse = (text: string) => parseRequestHead(bytes(text))

function accepted(text: string) {
  const head = parse(text)
  if (head.kind !== 'head') throw new Error(`expected a head, got ${JSON.stringify(head)}`)
  return head
}

function refused(text: string): number {
  const head = parse(text)
  if (head.kind !== 'error') throw new Error(`expected a refusal, got ${head.kind}`)
  return head.status
}

/** A request whose header section is `fields`, each ended with CRLF by the caller. */
const withFields = (fields: string) => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`

describe('a usual head', () => {
  const text =
    'GET /path?q=1 HTTP/1.1\r\nHost: example.com:8080\r\nAccept:\t*/*  \r\nX-Empty:\r\nx-twice: 1\r\nX-Twice: 2\r\n\r\n'

  test('is taken apart', () => {
    const head = accepted(`${text}body`)
    expect(head).toMatchObject({
      method: 'GET',
      target: '/path?q=1',
      version: '1.1',
      headLength: text.length,
      bodyFraming: { kind: 'none' },
      keepAlive: true,
      expectContinue: false,
    })
    expect(head.headers.toArray()).toEqual([
      ['Host', 'example.com:8080'],
      ['Accept', '*/*'],
      ['X-Empty', ''],
      ['x-twice', '1'],
      ['X-Twice', '2'],
    ])
    expect(head.headers.get('x-twice')).toBe('1')
    expect(head.headers.getAll('x-twice')).toEqual(['1', '2'])
    expect(head.headers.get('x-empty')).toBe('')
    expect(head.headers.has('x-missing')).toBe(false)
    expect(head.headers.count).toBe(5)
    expect(head.headers.nameAt(4)).toBe('X-Twice')
    expect(head.headers.valueAt(5)).toBeUndefined()
  })

  test('is incomplete at every shorter length and the same at every longer one', () => {
    for (let length = 0; length < text.length; length++) expect(parse(text.slice(0, length)).kind).toBe('incomplete')
    expect(accepted(`${text}GET`).headLength).toBe(text.length)
  })

  test('can be a view into a larger buffer', () => {
    const large = bytes(`xxxx${text}yyyy`)
    const head = parseRequestHead(new Uint8Array(large.buffer, large.byteOffset + 4, text.length))
    expect(head).toMatchObject({ kind: 'head', target: '/path?q=1', headLength: text.length })
  })

  test('values keep Latin-1 bytes', () => {
    expect(accepted('GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9\r\n\r\n').headers.get('x')).toBe('café')
  })

  test('one empty line in front is skipped, two are not', () => {
    expect(accepted('\r\nGET / HTTP/1.0\r\n\r\n').headLength).toBe(20)
    expect(parse('\r').kind).toBe('incomplete')
    expect(refused('\r\n\r\nGET / HTTP/1.0\r\n\r\n')).toBe(400)
  })
})

describe('the request line', () => {
  test.each([
    ['GET  / HTTP/1.1', 400],
    [' GET / HTTP/1.1', 400],
    ['GET\t/ HTTP/1.1', 400],
    ['GET /', 400],
    ['GET / ', 400],
    ['GET / HTTP/1.1 ', 400],
    ['G@T / HTTP/1.1', 400],
    ['GET /a b HTTP/1.1', 400],
    ['GET /\x7f HTTP/1.1', 400],
    ['GET /\x01 HTTP/1.1', 400],
    ['GET /\xe9 HTTP/1.1', 400],
    ['GET /#fragment HTTP/1.1', 400],
    ['GET a HTTP/1.1', 400],
    ['GET * HTTP/1.1', 400],
    ['GET example.com:80 HTTP/1.1', 400],
    ['CONNECT / HTTP/1.1', 400],
    ['CONNECT example.com HTTP/1.1', 400],
    ['GET ftp://a/ HTTP/1.1', 400],
    ['GET http:///x HTTP/1.1', 400],
    ['GET http://user@a/ HTTP/1.1', 400],
    ['GET / http/1.1', 400],
    ['GET / HTTP/11', 400],
    ['GET / HTTP/1.10', 400],
    ['GET / HTTPS/1.1', 400],
    ['GET / HTTP/2.0', 505],
    ['GET / HTTP/0.9', 505],
    ['GET / HTTP/1.2', 505],
    ['PRI * HTTP/2.0', 505],
  ])('%j is refused with %d', (line, status) => {
    expect(refused(`${line}\r\nHost: a\r\n\r\n`)).toBe(status)
  })

  test.each([
    'OPTIONS * HTTP/1.1',
    'CONNECT example.com:443 HTTP/1.1',
    'GET http://example.com/x?y HTTP/1.1',
    'GET HTTPS://[::1]:8443 HTTP/1.1',
    'M-SEARCH /a|b{c}\'"<>^`\\ HTTP/1.1',
    'GET // HTTP/1.0',
  ])('%j is accepted', (line) => {
    expect(`${accepted(`${line}\r\nHost: a\r\n\r\n`).method} `).toBe(line.slice(0, line.indexOf(' ') + 1))
  })

  test.each([
    'GET / HTTP/1.1\nHost: a\r\n\r\n',
    'GET / HTTP/1.1\rHost: a\r\n\r\n',
    'GET / HTTP/1.1\r\r\nHost: a\r\n\r\n',
  ])('line ends other than CRLF are refused: %j', (text) => {
    expect(refused(text)).toBe(400)
  })
})

describe('request smuggling', () => {
  test.each([
    ['a bare LF', 'A: b\nC: d\r\n'],
    ['a bare CR in a value', 'A: b\rC: d\r\n'],
    ['a bare CR in front of the end', 'A: b\r\n\rX'],
    ['folding with a space', 'A: b\r\n c\r\n'],
    ['folding with a tab', 'A: b\r\n\tc\r\n'],
    ['a space in front of the colon', 'Content-Length : 5\r\n'],
    ['a tab in front of the colon', 'Content-Length\t: 5\r\n'],
    ['a space in front of the name', ' Content-Length: 5\r\n'],
    ['no colon', 'Content-Length 5\r\n'],
    ['an empty name', ': 5\r\n'],
    ['a name that is no token', 'Content(Length): 5\r\n'],
    ['a name with a high byte', 'Content-Length\xa0: 5\r\n'],
    ['NUL in a value', 'A: b\0c\r\n'],
    ['DEL in a value', 'A: b\x7fc\r\n'],
    ['a vertical tab in a value', 'A: b\x0bc\r\n'],
    ['differing lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['a repeated length', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
    ['a list of lengths', 'Content-Length: 5, 5\r\n'],
    ['a signed length', 'Content-Length: +5\r\n'],
    ['a negative length', 'Content-Length: -5\r\n'],
    ['a hexadecimal length', 'Content-Length: 0x5\r\n'],
    ['a length with a space', 'Content-Length: 1 0\r\n'],
    ['an empty length', 'Content-Length:\r\n'],
    ['a length beyond 2^53', 'Content-Length: 9007199254740993\r\n'],
    ['length and coding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['coding and length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
    ['a repeated coding', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
    ['a repeated host', 'Host: b\r\n'],
  ])('%s is refused with 400', (_, fields) => {
    expect(refused(withFields(fields))).toBe(400)
  })

  test.each(['identity', 'gzip, chunked', 'chunked, chunked', 'xchunked', 'chunked;q=1', '', 'chunkedx', 'chunked,'])(
    'Transfer-Encoding %j is refused with 501',
    (coding) => {
      expect(refused(withFields(`Transfer-Encoding: ${coding}\r\n`))).toBe(501)
    },
  )

  test('HTTP/1.0 with a coding is refused', () => {
    expect(refused('POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n')).toBe(400)
  })
})

describe('Host', () => {
  test('is needed in HTTP/1.1 and only there', () => {
    expect(refused('GET / HTTP/1.1\r\n\r\n')).toBe(400)
    expect(accepted('GET / HTTP/1.0\r\n\r\n').version).toBe('1.0')
  })

  test.each(['a', 'a.b:80', 'a:', '[::1]', '[::1]:80', '', 'a_b', 'xn--e1afmkfd'])('%j is accepted', (host) => {
    expect(accepted(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).headers.get('host')).toBe(host)
  })

  test.each(['a/b', 'a b', 'user@a', 'a?b', 'a#b', 'a:b', 'a:123456', '::1', '[::1', 'a\\b', 'a,b:1:2', 'é', 'a%00'])(
    '%j is refused',
    (host) => {
      expect(refused(`GET / HTTP/1.1\r\nHost: ${Buffer.from(host, 'utf8').toString('latin1')}\r\n\r\n`)).toBe(400)
    },
  )
})

describe('framing and connection', () => {
  test('a length frames the body', () => {
    expect(accepted(withFields('content-LENGTH: 005\r\n')).bodyFraming).toEqual({ kind: 'length', contentLength: 5 })
  })

  test('the chunked coding frames the body', () => {
    expect(accepted(withFields('TRANSFER-encoding: Chunked\r\n')).bodyFraming).toEqual({ kind: 'chunked' })
  })

  test.each([
    ['1.1', '', true],
    ['1.1', 'Connection: close\r\n', false],
    ['1.1', 'Connection: Keep-Alive\r\n', true],
    ['1.1', 'Connection: upgrade, Close\r\n', false],
    ['1.1', 'Connection: close\r\nConnection: keep-alive\r\n', false],
    ['1.0', '', false],
    ['1.0', 'Connection: keep-alive\r\n', true],
    ['1.0', 'Connection: keep-alive, close\r\n', false],
  ])('HTTP/%s with %j keeps alive: %p', (version, fields, keepAlive) => {
    expect(accepted(`GET / HTTP/${version}\r\nHost: a\r\n${fields}\r\n`).keepAlive).toBe(keepAlive)
  })

  test('the only expectation is 100-continue, and only in HTTP/1.1', () => {
    expect(accepted(withFields('Expect: 100-Continue\r\n')).expectContinue).toBe(true)
    expect(accepted('POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n').expectContinue).toBe(false)
    expect(refused(withFields('Expect: a-miracle\r\n'))).toBe(417)
  })
})

describe('limits', () => {
  test('a head may be as large as the limit and no larger', () => {
    const text = 'GET / HTTP/1.0\r\nA: bcd\r\n\r\n'
    expect(parseRequestHead(bytes(text), { headSize: text.length }).kind).toBe('head')
    expect(parseRequestHead(bytes(text), { headSize: text.length - 1 })).toMatchObject({ kind: 'error', status: 431 })
    expect(parseRequestHead(bytes(text), { headSize: 10 })).toMatchObject({ kind: 'error', status: 414 })
  })

  test('an endless head is refused before it ends', () => {
    expect(refused(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(16 * 1024)}`)).toBe(431)
    expect(refused(`GET /${'a'.repeat(16 * 1024)}`)).toBe(414)
  })

  test('there may be as many fields as the limit and no more', () => {
    const fields = (count: number) => `GET / HTTP/1.0\r\n${'a: b\r\n'.repeat(count)}\r\n`
    expect(accepted(fields(100)).headers.count).toBe(100)
    expect(refused(fields(101))).toBe(431)
  })
})

describe('the parser of a connection', () => {
  test('gives the same headers object for a repeated section and a new one for another', () => {
    const parser = new RequestHeadParser()
    const parseNext = (text: string) => {
      const head = parser.parse(bytes(text))
      if (head.kind !== 'head') throw new Error(JSON.stringify(head))
      return head
    }
    const first = parseNext('GET /1 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n')
    const second = parseNext('POST /22 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\nbody')
    const longer = parseNext('GET /1 HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n')
    expect(second.headers).toBe(first.headers)
    expect(second).toMatchObject({ method: 'POST', target: '/22', headLength: 36 })
    expect(longer.headers).not.toBe(first.headers)
    expect(longer.headers.toArray()).toEqual([
      ['Host', 'a'],
      ['X', '1'],
      ['Y', '2'],
    ])
  })

  test('does not apply a section of HTTP/1.1 to HTTP/1.0', () => {
    const parser = new RequestHeadParser()
    expect(parser.parse(bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))).toMatchObject({ keepAlive: true })
    expect(parser.parse(bytes('GET / HTTP/1.0\r\nHost: a\r\n\r\n'))).toMatchObject({ keepAlive: false })
    const empty = new RequestHeadParser()
    expect(empty.parse(bytes('GET / HTTP/1.0\r\n\r\n')).kind).toBe('head')
    expect(empty.parse(bytes('GET / HTTP/1.1\r\n\r\n'))).toMatchObject({ kind: 'error', status: 400 })
  })
})
