// The shim finds the boundaries of requests where this package's parser does, or none. It needs a compiler, which only this tier has.
import { afterEach, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { mutated, Random } from '../../../core/test/support/fuzz/index.ts'
import { BodyDecoder, parseRequestHead } from '../../src/http/index.ts'
import { latin1 } from '../fuzz/text.ts'
import { afterTest, cleanUp, socketPath } from '../preload/support.ts'

afterEach(cleanUp)

setDefaultTimeout(60_000)

const CONNECTIONS = 20_000
const program = join(import.meta.dir, '../preload/scan.c')
const sources = ['exchange.c', 'http.c', 'http-fields.c', 'http-start-line.c', 'http-text.c'].map((name) =>
  join(import.meta.dir, '../../preload/src', name),
)

const requests = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'HEAD /x?y HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\nX-Y:\t z \r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world',
  'PUT /q HTTP/1.1\r\nHost: a\r\ncontent-length:0\r\n\r\n',
  'POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n',
].map(latin1)

const words = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    ':',
    ',',
    '\t',
    '\x7f',
    'HTTP/1.0',
    'HTTP/2.0',
    ' HTTP/1.1',
    'CONNECT ',
    '0\r\n\r\n',
  ],
  ...['Content-Length: 5\r\n', 'Content-Length: 05\r\n', 'Content-Length: +5\r\n', 'Content-Length: 5, 5\r\n'],
  ...['Content-Length : 5\r\n', 'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: gzip, chunked\r\n'],
  ...['Transfer-Encoding:\x0bchunked\r\n', 'Connection: close\r\n', ' folded\r\n', 'ffffffffffffffff\r\n', '0x5\r\n'],
].map(latin1)

/** What the parser refuses for what it means, and not for where it ends. */
const MEANING = /Host|target|expectation/

/** The offsets at which requests end, as this package's parser has them, and after them what it cannot tell: `unknown`. */
function boundariesOf(bytes: Uint8Array): number[] {
  return endsOf(bytes).ends
}

function endsOf(bytes: Uint8Array): { ends: number[]; unknown: boolean } {
  const ends: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const head = parseRequestHead(bytes.subarray(at), { headSize: 1 << 20, headerCount: 10_000 })
    if (head.kind !== 'head') return { ends, unknown: head.kind === 'error' && MEANING.test(head.reason) }
    at += head.headLength
    const body = new BodyDecoder(head.bodyFraming, {
      chunkLineSize: 1 << 20,
      chunkExtensionSize: 1 << 20,
      trailerSize: 1 << 20,
    })
    const progress = body.push(bytes.subarray(at))
    if (progress.kind !== 'progress' || !body.done) break
    at += progress.consumed
    ends.push(at)
  }
  return { ends, unknown: false }
}

interface Scanned {
  readonly boundaries: readonly number[]
  readonly received: number
}

async function compile(): Promise<string> {
  const out = join(socketPath(), '..', 'scan')
  const checks = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g']
  const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', ...checks]
  const compiler = Bun.spawn(['gcc', ...flags, '-o', out, program, ...sources], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  expect(await compiler.exited).toBe(0)
  return out
}

async function scan(path: string, connections: readonly { bytes: Uint8Array; step: number }[]): Promise<Scanned[]> {
  const input = connections.flatMap(({ bytes, step }) => [numberBytes(bytes.length), bytes, numberBytes(step)])
  const child = Bun.spawn([path], { stdin: Buffer.concat(input), stdout: 'pipe', stderr: 'inherit' })
  afterTest(() => child.kill())
  const lines = (await new Response(child.stdout).text()).trimEnd().split('\n')
  expect(await child.exited).toBe(0)
  return lines.map((line) => {
    const numbers = line.split(' ').map(Number)
    return { boundaries: numbers.slice(0, -1), received: numbers.at(-1) ?? 0 }
  })
}

function numberBytes(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer)
}

function randomRequests(random: Random): Uint8Array[] {
  return Array.from({ length: 1 + random.below(4) }, () => requests[random.below(requests.length)] as Uint8Array)
}

test('requests in order: every boundary is found, however the bytes come', async () => {
  const random = new Random([1])
  const connections = Array.from({ length: 2000 }, () => ({
    bytes: new Uint8Array(Buffer.concat(randomRequests(random))),
    step: 1 + random.below(40),
  }))
  const [whole, single] = [1 << 20, 1].map((step) => connections.map(({ bytes }) => ({ bytes, step })))
  const path = await compile()
  const expected = connections.map(({ bytes }) => boundariesOf(bytes))
  const inSteps = await scan(path, connections)
  expect(inSteps.map(({ received }) => received)).toEqual(expected.map(({ length }) => length))
  expect((await scan(path, single ?? [])).map(({ boundaries }) => boundaries)).toEqual(expected)
  expect((await scan(path, whole ?? [])).map(({ received }) => received)).toEqual(expected.map(({ length }) => length))
})

test('anything: no boundary is found where the parser has none', async () => {
  const random = new Random([2])
  const connections = Array.from({ length: CONNECTIONS }, () => ({
    bytes: mutated(random, randomRequests(random), words),
    step: 1,
  }))
  const scanned = await scan(await compile(), connections)
  expect(scanned).toHaveLength(CONNECTIONS)
  let found = 0
  for (const [index, { boundaries }] of scanned.entries()) {
    const bytes = connections[index]?.bytes as Uint8Array
    const { ends, unknown } = endsOf(bytes)
    found += boundaries.length
    const wrong = boundaries.filter((boundary) => !ends.includes(boundary))
    if (wrong.length > 0 && !unknown)
      throw new Error(`${wrong} in ${JSON.stringify(Buffer.from(bytes).toString('latin1'))}: ${ends}`)
  }
  expect(found).toBeGreaterThan(CONNECTIONS / 10)
})

test('every byte, anywhere in the value of a field that comes in one piece', async () => {
  const cases = Array.from({ length: 256 * 8 }, (_, index) => ({ byte: index >> 3, at: 8 + (index & 7) }))
  const connections = cases.map(({ byte, at }) => {
    const value = Buffer.alloc(24, 'v')
    value[at] = byte
    const bytes = Buffer.concat([latin1('GET / HTTP/1.1\r\nHost: a\r\nX: '), value, latin1('\r\n\r\n')])
    return { bytes: new Uint8Array(bytes), step: 1 << 20 }
  })
  const scanned = await scan(await compile(), connections)
  const isText = (byte: number) => byte === 9 || (byte >= 0x20 && byte !== 0x7f)
  expect(scanned.map(({ received }) => received)).toEqual(cases.map(({ byte }) => (isText(byte) ? 1 : 0)))
  const parsed = connections.map(({ bytes }) => boundariesOf(bytes).length)
  for (const [index, { received }] of scanned.entries()) expect(received).toBeLessThanOrEqual(parsed[index] ?? 0)
})
