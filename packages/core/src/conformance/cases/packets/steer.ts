import { group } from '../../case.ts'
import { check, equal } from '../../failure.ts'
import { readFrame, TCP, withHopLimit } from '../../frames.ts'
import { putOptional } from '../../rules.ts'
import type { Scene } from '../../scene.ts'
import { eventually } from '../../time.ts'
import { same, type Wire } from '../../wire.ts'
import { packetCases, withoutCounters, withoutHold } from './packet-case.ts'

const { ACK, FIN, RST, SYN } = TCP
/** The most hops that a returned packet has left: "a few". */
const FEW_HOPS = 8

async function optional(scene: Scene, wire: Wire, option: 'ended' | 'returning') {
  const rule = { ...wire.steering(1), [option]: true }
  await putOptional(scene.redirector, rule)
  await wire.put(rule)
}

/** Frames with such tags are not steered. */
async function areLeftAlone(wire: Wire, vlans: readonly number[]): Promise<void> {
  await wire.put(wire.steering(1))
  await wire.send(...wire.clientFrames(1, 3, { vlans }))
  await wire.nothingElseSteered('no packet with VLAN tags')
}

/** The frames are steered, and the rule's counters tell of them, and of nothing else. */
async function areCounted(scene: Scene, wire: Wire, frames: readonly Uint8Array[]): Promise<void> {
  await wire.put(wire.steering(1))
  const before = await scene.redirector.counters(wire.flow(1))
  check(before !== undefined, 'a rule has no counters')
  await wire.send(...frames)
  await wire.areSteered(frames, 'under a steer rule')
  const packets = before.packets + BigInt(frames.length)
  const counted = async () => (await scene.redirector.counters(wire.flow(1)))?.packets === packets
  await eventually(`${frames.length} packets are counted`, scene.limits.step, counted)
  const after = await scene.redirector.counters(wire.flow(1))
  const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
  equal(after?.bytes, before.bytes + BigInt(bytes), 'bytes, from the Ethernet header on')
  equal(after?.egressPackets, 0n, 'egressPackets')
  check((after?.lastSeen ?? 0n) > before.lastSeen, 'lastSeen has not moved')
  await scene.redirector.put(wire.steering(1))
  equal((await scene.redirector.counters(wire.flow(1)))?.packets, 0n, 'packets after the rule was put again')
}

export const steerPacketCases = group(
  'packets that are steered',
  packetCases([
    ...[[], [5], [5, 6]].map((vlans) => ({
      name: `get other MAC addresses and nothing else, with ${vlans.length} VLAN tags`,
      ...(vlans.length > 0 && { whenDeclaredAbsent: (_: Scene, wire: Wire) => areLeftAlone(wire, vlans) }),
      run: async (_: Scene, wire: Wire) => {
        await wire.put(wire.steering(1))
        const frames = wire.clientFrames(1, 3, { vlans })
        await wire.send(...frames)
        await wire.areSteered(frames, 'under a steer rule')
      },
    })),
    {
      name: 'are steered and not copied: the stack gets none',
      run: async (_, wire) => {
        await wire.put(wire.steering(1))
        const stack = await wire.watchStack()
        const frames = wire.clientFrames(1, 5)
        await wire.send(...frames)
        await wire.areSteered(frames, 'under a steer rule')
        await stack.gets(0, 'nothing that was steered')
        await wire.nothingElseSteered('each frame once')
      },
    },
    {
      name: 'are those with SYN, FIN and RST too',
      absence: withoutHold,
      whenAbsent: async (_, wire) => {
        // Whoever steers in hardware alone leaves the beginning and the end of a connection to the redirector underneath.
        await wire.put(wire.steering(1))
        const stack = await wire.watchStack()
        for (const flags of [SYN, FIN | ACK, RST]) await wire.send(wire.clientFrame(1, { flags }))
        await stack.gets(3, 'what begins and ends a connection')
      },
      run: async (_, wire) => {
        await wire.put(wire.steering(1))
        for (const flags of [SYN, SYN | ACK, FIN | ACK, RST]) {
          const frame = wire.clientFrame(1, { flags })
          await wire.send(frame)
          await wire.areSteered([frame], `with the TCP flags ${flags}`)
        }
      },
    },
    {
      name: 'are those of flows that have a rule, and only until it is removed',
      run: async (scene, wire) => {
        await wire.put(wire.steering(1))
        const stack = await wire.watchStack()
        await wire.send(...wire.clientFrames(2, 3))
        await stack.gets(3, 'what is of another flow')
        await scene.redirector.remove(wire.flow(1))
        await wire.send(...wire.clientFrames(1, 2))
        await stack.gets(2, 'what comes after the removal')
        await wire.nothingElseSteered('neither of them')
      },
    },
    {
      name: 'are counted, with their bytes and the time',
      absence: withoutCounters,
      run: (scene, wire) => areCounted(scene, wire, wire.clientFrames(1, 4)),
    },
    {
      name: 'are counted with their VLAN tags',
      absence: withoutCounters,
      whenDeclaredAbsent: (_, wire) => areLeftAlone(wire, [5]),
      run: (scene, wire) => areCounted(scene, wire, [...wire.clientFrames(1, 2), wire.clientFrame(1, { vlans: [5] })]),
    },
    {
      name: 'are not answered: what this host says on the flow is discarded',
      absence: withoutHold,
      whenAbsent: async (_, wire) => {
        await wire.put(wire.steering(1))
        const frame = wire.hostFrame(1)
        await wire.emit(frame)
        await wire.areSaid([frame], 'what is left to the redirector underneath')
      },
      run: async (scene, wire) => {
        await wire.put(wire.steering(1))
        await wire.emit(wire.hostFrame(1), wire.hostFrame(1, { flags: RST | ACK }))
        await wire.nothingElseSaid('the frozen socket is silent')
        if (!scene.manifest.observable) return
        equal((await scene.redirector.counters(wire.flow(1)))?.egressPackets, 2n, 'egressPackets')
      },
    },
    {
      name: 'of a connection that has ended: a SYN removes the rule and goes to the stack, the others are steered',
      run: async (scene, wire) => {
        await optional(scene, wire, 'ended')
        const stack = await wire.watchStack()
        const frames = [ACK, FIN | ACK, SYN | ACK, RST].map((flags) => wire.clientFrame(1, { flags }))
        await wire.send(...frames)
        await wire.areSteered(frames, 'late packets')
        await stack.gets(0, 'no late packet')
        await wire.send(wire.clientFrame(1, { flags: SYN }))
        await stack.gets(1, 'the SYN')
        equal(await scene.redirector.remove(wire.flow(1)), false, 'remove() after the SYN')
        await wire.send(wire.clientFrame(1))
        await stack.gets(1, 'what comes after the SYN')
        await wire.nothingElseSteered('nothing after the SYN')
      },
    },
    {
      name: 'of a rule that returns them: their hop limit is cut to a few, and none is sent on without a hop left',
      run: async (scene, wire) => {
        await optional(scene, wire, 'returning')
        for (const [hopLimit, most] of [
          [64, FEW_HOPS],
          [3, 2],
          [2, 1],
        ] as const) {
          const frame = wire.clientFrame(1, { hopLimit })
          await wire.send(frame)
          const found = await wire.next('target', `a packet with hop limit ${hopLimit}`)
          const left = readFrame(found)?.tcp?.hopLimit ?? 0
          check(left >= 1 && left <= most, `of ${hopLimit} hops ${left} are left: 1 to ${most} are expected`)
          same(found, withHopLimit(wire.steered(frame), left), 'a returned packet, but for its hop limit')
        }
        const stack = await wire.watchStack()
        await wire.send(wire.clientFrame(1, { hopLimit: 1 }))
        await stack.gets(0, 'nothing that has no hop left')
        await wire.nothingElseSteered('nothing that has no hop left')
      },
    },
  ]),
)
