import { describe, expect, test } from 'bun:test'
import { BodyDecoder, parseRequestHead, RequestHeadParser } from '@xoffload/proxy-adapters/http'
import fc from 'fast-check'
import { HTTPParser } from 'http-parser-js'

/** One request as a parser understood it. */
interface Message {
  method: string
  target: string
  version: string
  headers: string[]
  body: string
  /** Offset of the first byte behind the message. */
  end: number
}

/** The complete requests at the start of `bytes`, and whether what follows was refused. */
function ours(bytes: Buffer, parser?: RequestHeadParser): { messages: Message[]; refused: boolean } {
  const messages: Message[] = []
  for (let at = 0; at < bytes.length; ) {
    const rest = bytes.subarray(at)
    const head = parser?.parse(rest) ?? parseRequestHead(rest)
    if (head.kind !== 'head') return { messages, refused: head.kind === 'error' }
    const decoder = new BodyDecoder(head.bodyFraming)
    const progress = decoder.push(rest.subarray(head.headLength))
    if (progress.kind === 'error') return { messages, refused: true }
    if (!progress.done) break
    at += head.headLength + progress.consumed
    messages.push({
      method: head.method,
      target: head.target,
      version: head.version,
      headers: head.headers.toArray().flat(),
      body: Buffer.concat(progress.content).toString('latin1'),
      end: at,
    })
  }
  return { messages, refused: false }
}

/** The same with another parser, which sees one byte at a time, so that it knows where a message ends. */
function theirs(bytes: Buffer): { messages: Message[]; refused: boolean } {
  const parser = new HTTPParser(HTTPParser.REQUEST)
  const messages: Message[] = []
  let current: Message | undefined
  let at = 0
  parser[HTTPParser.kOnHeadersComplete] = (info: HTTPParserInfo) => {
    current = {
      method: HTTPParser.methods[info.method] ?? '?',
      target: info.url,
      version: `${info.versionMajor}.${info.versionMinor}`,
      headers: info.headers,
      body: '',
      end: 0,
    }
    return 0
  }
  parser[HTTPParser.kOnHeaders] = () => {}
  parser[HTTPParser.kOnBody] = (chunk: Buffer, offset: number, length: number) => {
    if (current !== undefined) current.body += chunk.toString('latin1', offset, offset + length)
  }
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (current !== undefined) messages.push({ ...current, end: at + 1 })
  }
  for (at = 0; at < bytes.length; at++) {
    if (parser.execute(bytes.subarray(at, at + 1)) instanceof Error) return { messages, refused: true }
  }
  return { messages, refused: false }
}

/** It decodes as 7-bit ASCII. */
const ascii = (text: string) => Buffer.from(text, 'latin1').toString('ascii')
const comparable = (messages: Message[]) =>
  messages.map((message) => ({ ...message, headers: message.headers.map(ascii) }))

interface HTTPParserInfo {
  readonly method: number
  readonly url: string
  readonly versionMajor: number
  readonly versionMinor: number
  readonly headers: string[]
}

const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH')
const target = fc.constantFrom('/', '/a/b?c=d', '/%20', 'http://host/x', '/|{}')
const field = fc.constantFrom(
  'Accept: */*',
  'X:',
  'X-Long:  a b\tc \t',
  'x-y: \xe9',
  'Connection: close',
  'Connection: keep-alive',
  'Cookie: a=1; b=2',
  'Cookie: c=3',
)
const content = fc.string({ maxLength: 40, unit: fc.constantFrom('a', '\r', '\n', '0', ':', ' ', '\xff', 'G') })

/** A body and the field that frames it. */
const framed = fc.oneof(
  fc.constant({ fields: [] as string[], body: '' }),
  content.map((body) => ({ fields: [`Content-Length: ${body.length}`], body })),
  fc
    .array(
      content.filter((chunk) => chunk.length > 0),
      { maxLength: 4 },
    )
    .map((chunks) => ({
      fields: ['Transfer-Encoding: chunked'],
      body: `${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`,
    })),
)

const request = fc
  .record({ method, target, fields: fc.array(field, { maxLength: 5 }), framed, version: fc.constantFrom('1.1', '1.0') })
  .map(({ method, target, fields, framed, version }) => {
    // A coding is not for HTTP/1.0.
    const spoken = framed.fields[0]?.startsWith('T') ? '1.1' : version
    return `${method} ${target} HTTP/${spoken}\r\n${['Host: host', ...fields, ...framed.fields].join('\r\n')}\r\n\r\n${framed.body}`
  })
const stream = fc.array(request, { minLength: 1, maxLength: 3 }).map((requests) => requests.join(''))

/** Bytes that matter to a parser, put in place of others, between them, or taken out. */
const mutation = fc.record({
  at: fc.nat(400),
  remove: fc.integer({ min: 0, max: 3 }),
  insert: fc.constantFrom(
    '',
    '\r',
    '\n',
    '\r\n',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '\0',
    '0',
    '5',
    'f',
    'chunked',
    '\r\nContent-Length: 3',
    '\x7f',
    '\x80',
  ),
})
const mutated = fc.tuple(stream, fc.array(mutation, { minLength: 1, maxLength: 3 })).map(([text, mutations]) =>
  mutations.reduce((result, { at, remove, insert }) => {
    const position = at % (result.length + 1)
    return result.slice(0, position) + insert + result.slice(position + remove)
  }, text),
)

const RUNS = { numRuns: 3000 }

describe('compared with http-parser-js', () => {
  test('valid requests are all accepted and understood alike', () => {
    fc.assert(
      fc.property(stream, (text) => {
        const bytes = Buffer.from(text, 'latin1')
        const { messages, refused } = ours(bytes)
        expect(refused).toBe(false)
        expect(messages.at(-1)?.end).toBe(bytes.length)
        expect(comparable(messages)).toEqual(comparable(theirs(bytes).messages))
      }),
      { numRuns: 500 },
    )
  })

  test('what is accepted of mutated requests is understood alike', () => {
    let compared = 0
    let refused = 0
    fc.assert(
      fc.property(mutated, (text) => {
        const bytes = Buffer.from(text, 'latin1')
        const mine = ours(bytes)
        refused += mine.refused ? 1 : 0
        const other = theirs(bytes)
        // It may refuse more (unknown methods); it may not see fewer requests, or others, in what it does not refuse.
        const common = other.refused ? Math.min(other.messages.length, mine.messages.length) : mine.messages.length
        expect(comparable(other.messages.slice(0, common))).toEqual(comparable(mine.messages.slice(0, common)))
        compared += common
      }),
      RUNS,
    )
    // The property says nothing if everything is refused or everything is accepted.
    expect(compared).toBeGreaterThan(500)
    expect(refused).toBeGreaterThan(500)
  })
})

describe('on any bytes', () => {
  test('heads neither throw nor depend on how the bytes arrive', () => {
    fc.assert(
      fc.property(fc.oneof(mutated, fc.string({ unit: 'binary', maxLength: 100 })), (text) => {
        const bytes = Buffer.from(text, 'latin1')
        const whole = parseRequestHead(bytes)
        for (let length = 0; length <= bytes.length; length++) {
          const part = parseRequestHead(bytes.subarray(0, length))
          if (part.kind === 'incomplete') continue
          // What is decided stays decided.
          expect(JSON.stringify(part)).toBe(JSON.stringify(whole))
          if (part.kind === 'head') expect(length).toBe(part.headLength)
          return
        }
        expect(whole.kind).toBe('incomplete')
      }),
      RUNS,
    )
  })

  test('bodies do not depend on how the bytes arrive', () => {
    fc.assert(
      fc.property(
        framed,
        fc.array(mutation, { maxLength: 2 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (body, mutations, sizes) => {
          const text = mutations.reduce((result, { at, remove, insert }) => {
            const position = at % (result.length + 1)
            return result.slice(0, position) + insert + result.slice(position + remove)
          }, `${body.body}GET`)
          const framing = body.fields[0]?.startsWith('T')
            ? ({ kind: 'chunked' } as const)
            : ({ kind: 'length', contentLength: body.body.length } as const)
          expect(collect(framing, text, sizes)).toEqual(collect(framing, text, [text.length + 1]))
        },
      ),
      RUNS,
    )
  })

  test('the parser of a connection gives what the function gives', () => {
    fc.assert(
      fc.property(fc.array(mutated, { minLength: 2, maxLength: 5 }), (texts) => {
        const parser = new RequestHeadParser()
        for (const text of texts) {
          const bytes = Buffer.from(text, 'latin1')
          expect(ours(bytes, parser)).toEqual(ours(bytes))
        }
      }),
      { numRuns: 1000 },
    )
  })
})

function collect(framing: ConstructorParameters<typeof BodyDecoder>[0], text: string, sizes: number[]) {
  const decoder = new BodyDecoder(framing)
  const bytes = Buffer.from(text, 'latin1')
  let content = ''
  let consumed = 0
  for (let at = 0, turn = 0; at < bytes.length && !decoder.done; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    const progress = decoder.push(bytes.subarray(at, at + size))
    if (progress.kind === 'error') return progress.status
    content += Buffer.concat(progress.content).toString('latin1')
    consumed += progress.consumed
    at += size
  }
  return { content, consumed, done: decoder.done, trailers: decoder.trailers }
}
