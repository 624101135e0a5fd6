import { expect, test } from 'bun:test'
import { CodecError, FlowKey } from '@xoffload/core'
import { decodeDiagnosticFlow, diagnosticMessages } from '../src/sock-diag/message.ts'

/** `struct inet_diag_msg` of the flow's socket at the service. */
function diagnosticMessage(family: number, flow: FlowKey): Uint8Array {
  const message = new Uint8Array(72)
  message[0] = family
  message.set(flow.bytes.subarray(34, 36), 4)
  message.set(flow.bytes.subarray(32, 34), 6)
  const from = family === 2 ? 12 : 0
  message.set(flow.bytes.subarray(16 + from, 32), 8)
  message.set(flow.bytes.subarray(from, 16), 24)
  return message
}

function datagram(...messages: [type: number, body: Uint8Array][]): Uint8Array {
  return Buffer.concat(
    messages.map(([type, body]) => {
      const header = new Uint8Array(16)
      new DataView(header.buffer).setUint32(0, 16 + body.length, true)
      header[4] = type
      return Buffer.concat([header, body, new Uint8Array(-body.length & 3)])
    }),
  )
}

const ipv4 = FlowKey.of({ address: '192.0.2.1', port: 40000 }, { address: '198.51.100.1', port: 80 })
const ipv6 = FlowKey.of({ address: '2001:db8::1', port: 40000 }, { address: '2001:db8::2', port: 80 })

test('the client of a flow is the remote end', () => {
  expect(String(decodeDiagnosticFlow(diagnosticMessage(2, ipv4)))).toBe(ipv4.toString())
  expect(String(decodeDiagnosticFlow(diagnosticMessage(10, ipv6)))).toBe(ipv6.toString())
})

test('a dual-stack socket with an IPv4 peer has an IPv4 flow', () => {
  expect(String(decodeDiagnosticFlow(diagnosticMessage(10, ipv4)))).toBe(ipv4.toString())
})

test('a socket without a remote end has no flow', () => {
  const listener = diagnosticMessage(2, ipv4)
  listener.fill(0, 6, 8)
  expect(decodeDiagnosticFlow(listener)).toBeUndefined()
})

test('a datagram is split into its messages, and those of other types are left out', () => {
  const one = diagnosticMessage(2, ipv4)
  const longer = new Uint8Array([...diagnosticMessage(10, ipv6), 1, 2, 3])
  expect(diagnosticMessages(datagram([20, one], [3, new Uint8Array(4)], [20, longer]))).toEqual([one, longer])
})

test('lengths that do not fit are refused', () => {
  const good = datagram([20, diagnosticMessage(2, ipv4)])
  expect(() => diagnosticMessages(good.subarray(0, good.length - 1))).toThrow(CodecError)
  expect(() => diagnosticMessages(good.subarray(0, 15))).toThrow(CodecError)
  const zero = good.slice()
  zero.fill(0, 0, 4)
  expect(() => diagnosticMessages(zero)).toThrow(CodecError)
  expect(() => decodeDiagnosticFlow(new Uint8Array(71))).toThrow(CodecError)
  expect(() => decodeDiagnosticFlow(new Uint8Array(72).fill(1))).toThrow(CodecError)
})
