import type { MacAddress } from '@xoffload/core'
import { VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'

const ETHERNET_LENGTH = 14
const TCP = 6
/** The kernel puts a tag from the packet's metadata into the frame, in front of at most two that the program accepts. */
const MAXIMUM_TAGS = 3
/** Where the source address of the frame starts; its group bit tells that the frame was on its way out. */
const SOURCE_ADDRESS = VIRTIO_NET_HEADER_LENGTH + 6
const DESTINATION_ADDRESS = VIRTIO_NET_HEADER_LENGTH

/**
 * The `FlowKey.id` of a frame that was read from the TAP, client first whichever way it was going; undefined for a frame that no
 * program of ours sends there. The counterpart of the parser in bpf/flow.h.
 */
export function heldFrameFlow(frame: Uint8Array): string | undefined {
  let at = VIRTIO_NET_HEADER_LENGTH + ETHERNET_LENGTH
  let protocol = u16(frame, at - 2)
  for (let tags = 0; tags < MAXIMUM_TAGS && (protocol === 0x8100 || protocol === 0x88a8); tags++) {
    protocol = u16(frame, at + 2)
    at += 4
  }
  const outgoing = ((frame[SOURCE_ADDRESS] ?? 0) & 1) === 1
  if (protocol === 0x0800 && frame[at] === 0x45 && frame[at + 9] === TCP && frame.length >= at + 24) {
    return identifier(frame, at + 12, 4, at + 20, outgoing)
  }
  if (protocol === 0x86dd && frame[at + 6] === TCP && frame.length >= at + 44) {
    return identifier(frame, at + 8, 16, at + 40, outgoing)
  }
  return undefined
}

/** Readdresses a client's frame to the target of its flow; the program on the TAP sends it out. A frame of this host stays as it is. */
export function steerHeldFrame(frame: Uint8Array, target: MacAddress): void {
  if (((frame[SOURCE_ADDRESS] ?? 0) & 1) === 1) return
  frame.copyWithin(SOURCE_ADDRESS, VIRTIO_NET_HEADER_LENGTH, SOURCE_ADDRESS)
  frame.set(target.bytes, VIRTIO_NET_HEADER_LENGTH)
  frame[SOURCE_ADDRESS] = (frame[SOURCE_ADDRESS] ?? 0) | 1
}

/**
 * Writes the number of a tunnel in the place of a client's frame's destination; the program on the TAP sends the packet through it. The group
 * bit of the destination tells: no frame for a group is ever held. A frame of this host stays as it is.
 */
export function steerHeldFrameThrough(frame: Uint8Array, tunnel: number): void {
  if (((frame[SOURCE_ADDRESS] ?? 0) & 1) === 1) return
  frame[DESTINATION_ADDRESS] = 1
  frame[DESTINATION_ADDRESS + 1] = 0
  new DataView(frame.buffer, frame.byteOffset).setUint32(DESTINATION_ADDRESS + 2, tunnel, true)
}

const key = new Uint8Array(36)

function identifier(frame: Uint8Array, addresses: number, length: 4 | 16, ports: number, outgoing: boolean): string {
  const [client, service] = outgoing ? [1, 0] : [0, 1]
  writeAddress(0, frame, addresses + client * length, length)
  writeAddress(16, frame, addresses + service * length, length)
  key.set(frame.subarray(ports + 2 * client, ports + 2 * client + 2), 32)
  key.set(frame.subarray(ports + 2 * service, ports + 2 * service + 2), 34)
  return String.fromCharCode(...key)
}

function writeAddress(offset: number, frame: Uint8Array, at: number, length: 4 | 16): void {
  if (length === 4) {
    key.fill(0, offset, offset + 10)
    key.fill(0xff, offset + 10, offset + 12)
  }
  key.set(frame.subarray(at, at + length), offset + 16 - length)
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}
