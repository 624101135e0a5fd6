/** What a connection carries is in no error: neither of damaged messages and snapshots, nor of requests that are none. */
import { expect, test } from 'bun:test'
import {
  decodeSnapshot,
  encodeMessage,
  encodeSnapshot,
  FlowKey,
  FrameDecoder,
  hasUnacknowledgedBytes,
  type TcpSnapshot,
} from '@xoffload/core'
import { parseRequestHead } from '@xoffload/proxy-adapters/http'
import { partsOfSecretIn, SECRET } from './secret.ts'

const secret = Buffer.from(SECRET)

test.each([
  ['text', SECRET],
  ['a part', `...${SECRET.slice(10, 20)}...`],
  ['hexadecimal', secret.toString('hex')],
  ['base64', Buffer.concat([Buffer.from('a'), secret]).toString('base64')],
  ['an inspected array', Bun.inspect({ bytes: new Uint8Array(secret) })],
  ['an inspected buffer', Bun.inspect(secret)],
  ['JSON of a buffer', JSON.stringify({ bytes: secret })],
])('the secret is found in %s', (_name, text) => {
  expect(partsOfSecretIn(text)).not.toEqual([])
})

test('the secret is not found where it is not', () => {
  expect(partsOfSecretIn(`${Bun.inspect(new Error('x'))}${Buffer.alloc(300, 'abc').toString('base64')}`)).toEqual([])
})

const snapshot: TcpSnapshot = {
  flow: FlowKey.of({ address: '192.0.2.1', port: 40_000 }, { address: '192.0.2.2', port: 80 }),
  options: {
    maximumSegmentSize: 1460,
    selectiveAcknowledgement: true,
    timestamp: 1,
    windowScale: { send: 7, receive: 7 },
  },
  window: { sendLastUpdate: 1, sendWindow: 1000, maximumWindow: 2000, receiveWindow: 3000, receiveLastUpdate: 4 },
  send: { sequence: 1, sent: secret, unsent: secret },
  receive: { sequence: 9, queue: secret },
}

/** Bytes with each byte changed in turn, and cut off after each. */
function* damaged(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at++) {
    yield bytes.slice(0, at)
    for (const mask of [0x01, 0x80, 0xff]) {
      const changed = bytes.slice()
      changed[at] = (changed[at] ?? 0) ^ mask
      yield changed
    }
  }
}

/** What an error would show of itself wherever it ends up: its text, its fields, its causes. Undefined when nothing is thrown. */
function shownBy(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return `${error}\n${Bun.inspect(error, { depth: 20 })}\n${JSON.stringify(error)}`
  }
}

test('no error of a damaged snapshot or message shows it', () => {
  const bytes = encodeSnapshot(snapshot)
  expect(hasUnacknowledgedBytes(decodeSnapshot(bytes))).toBe(true)
  const offer = encodeMessage({ type: 'offer', handoff: 1, epoch: 1, snapshot: bytes, application: secret })
  const shown = [
    ...Array.from(damaged(bytes), (each) => shownBy(() => decodeSnapshot(each))),
    ...Array.from(damaged(offer), (each) =>
      shownBy(() => [...new FrameDecoder({ maximumFrameLength: 4096 }).push(each)]),
    ),
  ].filter((text) => text !== undefined)
  expect(shown.length).toBeGreaterThan(100)
  for (const text of shown) expect(partsOfSecretIn(text)).toEqual([])
})

test.each([
  `${SECRET}\r\n\r\n`,
  `GET /${SECRET} HTTP/9.9\r\nHost: x\r\n\r\n`,
  `GET / HTTP/1.1\r\n${SECRET}\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nContent-Length: ${SECRET}\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ${SECRET}\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nAuthorization : ${SECRET}\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nX: ${SECRET.repeat(200)}\r\n\r\n`,
])('no reason for refusing a request shows it', (bytes) => {
  const head = parseRequestHead(Buffer.from(bytes), { headSize: 1000 })
  expect(head.kind).toBe('error')
  expect(partsOfSecretIn(head.kind === 'error' ? head.reason : '')).toEqual([])
})
