import { expect, test } from 'bun:test'
import { FlowKey, type TcpSnapshot } from '@xoffload/core'
import { asksClient } from '../src/runtime/restored-socket.ts'

const SEGMENT = 1460

function snapshot(sent: number, unsent: number, sendWindow: number): TcpSnapshot {
  return {
    flow: FlowKey.of({ address: '192.0.2.1', port: 40000 }, { address: '198.51.100.1', port: 80 }),
    options: { maximumSegmentSize: SEGMENT, selectiveAcknowledgement: true },
    window: { sendLastUpdate: 1, sendWindow, maximumWindow: 65535, receiveWindow: 65535, receiveLastUpdate: 1 },
    send: { sequence: 1, sent: new Uint8Array(sent), unsent: new Uint8Array(unsent) },
    receive: { sequence: 1, queue: new Uint8Array() },
  }
}

test.each([
  { name: 'idle, with an open window', sent: 0, unsent: 0, sendWindow: 65535, asks: false },
  { name: 'with bytes on their way', sent: 1, unsent: 0, sendWindow: 65535, asks: true },
  { name: 'with less to send than fits', sent: 0, unsent: 65535, sendWindow: 65535, asks: false },
  { name: 'with more to send than fits', sent: 0, unsent: 65536, sendWindow: 65535, asks: true },
  { name: 'with no room for a segment', sent: 0, unsent: 0, sendWindow: SEGMENT - 1, asks: true },
  { name: 'with a closed window', sent: 0, unsent: 0, sendWindow: 0, asks: true },
])('a restored connection $name: does it ask its client for news? $asks', ({ sent, unsent, sendWindow, asks }) => {
  expect(asksClient(snapshot(sent, unsent, sendWindow))).toBe(asks)
})
