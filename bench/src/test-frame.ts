import type { FlowKey, MacAddress } from '@xoffload/core'

const ACK = 0x10

/**
 * A TCP segment without payload in an Ethernet frame of IPv4, as short as may be (60 bytes). The TCP checksum is zero: those who look at
 * flows only do not mind.
 */
export function testFrame(flow: FlowKey, source: MacAddress, destination: MacAddress): Uint8Array {
  const frame = new Uint8Array(60)
  const view = new DataView(frame.buffer)
  frame.set(destination.bytes, 0)
  frame.set(source.bytes, 6)
  view.setUint16(12, 0x0800)
  // Version and length, total length, hop limit, protocol.
  view.setUint16(14, 0x4500)
  view.setUint16(16, 40)
  view.setUint16(22, 0x4006)
  frame.set(flow.bytes.subarray(12, 16), 26)
  frame.set(flow.bytes.subarray(28, 32), 30)
  frame.set(flow.bytes.subarray(32, 36), 34)
  view.setUint16(46, 0x5000 | ACK)
  view.setUint16(48, 1024)
  return frame
}
