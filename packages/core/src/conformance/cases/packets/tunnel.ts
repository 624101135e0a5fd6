import type { IpipTarget, SteerMode, VxlanTarget } from '../../../redirector.ts'
import { FAMILIES, type GroupedCase, group } from '../../case.ts'
import { check, equal } from '../../failure.ts'
import { readFrame, TCP, withHopLimit } from '../../frames.ts'
import { readIpPacket } from '../../ip-packet.ts'
import { steer, targetOf } from '../../rules.ts'
import type { Scene } from '../../scene.ts'
import { same, Wire } from '../../wire.ts'
import { networkAbsence } from './packet-case.ts'

const ETHERNET_LENGTH = 14
const UDP = 17
// Assigned Internet protocol numbers: IPv4 and IPv6 in IP (RFC 2003, RFC 2473).
const ENCAPSULATED = { 4: 4, 6: 41 }
const UDP_LENGTH = 8
const VXLAN_LENGTH = 8
/** The flag I: the identifier is valid (RFC 7348 section 5). */
const VXLAN_FLAGS = 0x08

type Mode = Exclude<SteerMode, 'l2'>

/** What is in the tunnel's packet behind its IP header. */
function payloadOf(frame: Uint8Array, scene: Scene, target: VxlanTarget | IpipTarget, outer: 4 | 6, protocol: number) {
  const reading = readFrame(frame)
  check(reading !== undefined, 'the frame is too short to be one')
  equal(`${reading.source}`, `${scene.network.device}`, 'the source of the frame')
  const packet = readIpPacket(frame.subarray(reading.network))
  check(packet !== undefined, 'the frame has no IP packet')
  equal(packet.family, outer, 'the family of the outer packet')
  equal(packet.destination, target.remote, 'the destination of the outer packet')
  check(packet.hopLimit > 1, `the outer packet has ${packet.hopLimit} hops left`)
  check(packet.checksumHolds, 'the checksum of the outer IPv4 header is wrong')
  equal(packet.protocol, protocol, 'the protocol of the outer packet')
  return packet.payload
}

/** The IP packet in a VXLAN packet. */
function vxlanInner(udp: Uint8Array, target: VxlanTarget): Uint8Array {
  const view = new DataView(udp.buffer, udp.byteOffset, udp.byteLength)
  equal(view.getUint16(2), target.port, 'the UDP port')
  equal(view.getUint16(4), udp.length, 'the UDP length')
  equal(view.getUint8(UDP_LENGTH), VXLAN_FLAGS, 'the flags of VXLAN')
  equal(view.getUint32(UDP_LENGTH + 4) >>> 8, target.identifier, 'the network identifier')
  const frame = udp.subarray(UDP_LENGTH + VXLAN_LENGTH)
  equal(`${readFrame(frame)?.destination}`, `${target.mac}`, 'the destination of the inner frame')
  return frame.subarray(ETHERNET_LENGTH)
}

/** Steers a few packets of a flow through a tunnel, and checks that each comes out of it as it was. */
async function isTunnelled(scene: Scene, mode: Mode, inner: 4 | 6, outer: 4 | 6): Promise<void> {
  const wire = await Wire.begin(scene, inner)
  const target = targetOf(mode, scene.network, outer)
  check(target.mode !== 'l2', 'l2 is no tunnel')
  await wire.put(steer(wire.flow(1), target))
  const stack = await wire.watchStack()
  for (const flags of [TCP.ACK, TCP.PSH | TCP.ACK, TCP.FIN | TCP.ACK]) {
    const sent = wire.clientFrame(1, { flags })
    await wire.send(sent)
    const found = await wire.next('target', `a packet in mode ${mode}`)
    const protocol = target.mode === 'vxlan' ? UDP : ENCAPSULATED[inner]
    const payload = payloadOf(found, scene, target, outer, protocol)
    const packet = target.mode === 'vxlan' ? vxlanInner(payload, target) : payload
    // Whoever forwards a packet into a tunnel may take one hop from it (RFC 2003 section 3.1).
    const hopLimit = readIpPacket(packet)?.hopLimit === 63 ? 63 : 64
    same(packet, withHopLimit(sent, hopLimit).subarray(ETHERNET_LENGTH), 'the packet in the tunnel')
  }
  await stack.gets(0, 'nothing that was steered')
}

const cases = (['vxlan', 'ipip'] as const).flatMap((mode) =>
  FAMILIES.flatMap((inner) =>
    FAMILIES.map(
      (outer): GroupedCase => ({
        name: `come out of it as they were (${mode}, IPv${inner} in IPv${outer})`,
        absence: (scene) => {
          if (!scene.manifest.steerModes.includes(mode)) return `manifest: no steer mode ${mode}`
          const addresses = scene.device.network?.tunnelAddresses
          return (
            networkAbsence(scene, inner) ??
            (addresses?.[outer] === undefined ? `the factory's network has no tunnel over IPv${outer}` : undefined)
          )
        },
        run: (scene) => isTunnelled(scene, mode, inner, outer),
      }),
    ),
  ),
)

export const tunnelPacketCases = group('packets that go through a tunnel', cases)
