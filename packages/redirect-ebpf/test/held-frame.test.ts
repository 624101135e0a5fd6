import { describe, expect, test } from 'bun:test'
import { type Endpoint, FlowKey, MacAddress } from '@xoffload/core'
import { heldFrameFlow } from '../src/held-frame.ts'
import { type TcpFrame, tcpFrame } from './netns/frames.ts'

const client = MacAddress.parse('02:00:00:00:00:01')
const gateway = MacAddress.parse('02:00:00:00:00:02')

const families: [string, Endpoint, Endpoint][] = [
  ['IPv4', { address: '192.0.2.1', port: 40000 }, { address: '198.51.100.1', port: 443 }],
  ['IPv6', { address: '2001:db8::1', port: 40000 }, { address: '2001:db8::2', port: 443 }],
]

describe.each(families)('the flow of a held %s frame', (_name, from, to) => {
  const flow = FlowKey.of(from, to).id

  test.each([[[]], [[5]], [[5, 6]], [[5, 6, 7]]])('with VLAN tags %p', (vlans) => {
    expect(heldFrameFlow(tcpFrame({ source: client, destination: gateway, from, to, vlans }))).toBe(flow)
  })

  test('on its way out: the group bit of the source address turns the flow around', () => {
    const frame = tcpFrame({ source: gateway, destination: client, from: to, to: from })
    expect(heldFrameFlow(frame)).not.toBe(flow)
    frame[10 + 6] = 0x03
    expect(heldFrameFlow(frame)).toBe(flow)
  })

  test('a frame that is cut short has none', () => {
    const frame = tcpFrame({ source: client, destination: gateway, from, to })
    for (let length = 0; length < frame.length - 16; length++) {
      expect(heldFrameFlow(frame.subarray(0, length))).toBeUndefined()
    }
  })
})

test('what the programs never send there has no flow', () => {
  const [, from, to] = families[0] as [string, Endpoint, Endpoint]
  const base: TcpFrame = { source: client, destination: gateway, from, to }
  expect(heldFrameFlow(tcpFrame({ ...base, ipOptions: true }))).toBeUndefined()
  expect(heldFrameFlow(tcpFrame({ ...base, vlans: [1, 2, 3, 4] }))).toBeUndefined()
  const udp = tcpFrame(base)
  udp[10 + 14 + 9] = 17
  expect(heldFrameFlow(udp)).toBeUndefined()
})
