import type { HoldRule } from '../../../redirector.ts'
import { group } from '../../case.ts'
import { equal } from '../../failure.ts'
import { TCP } from '../../frames.ts'
import { putOptional } from '../../rules.ts'
import type { Wire } from '../../wire.ts'
import { type PacketCase, packetCases, withoutCounters, withoutHold } from './packet-case.ts'

const hold = (wire: Wire, number = 1): HoldRule => ({ action: 'hold', flow: wire.flow(number) })

/** Sends frames of the client, and checks that neither the target nor the stack gets them. */
async function areHeld(wire: Wire, frames: readonly Uint8Array[]): Promise<void> {
  const stack = await wire.watchStack()
  await wire.send(...frames)
  await stack.gets(0, 'nothing that is held')
  await wire.nothingElseSteered('nothing that is held')
}

const cases: readonly Omit<PacketCase, 'absence'>[] = [
  ...[[], [5], [5, 6]].map((vlans) => ({
    name: `go to the target in order when the rule becomes steer, with ${vlans.length} VLAN tags`,
    run: async (_: unknown, wire: Wire) => {
      await wire.put(hold(wire))
      const frames = wire.clientFrames(1, 20, { vlans })
      await areHeld(wire, frames)
      await wire.put(wire.steering(1))
      const newer = wire.clientFrame(1, { vlans })
      await wire.send(newer)
      await wire.areSteered([...frames, newer], 'what was held, and what came after')
      await wire.nothingElseSteered('each frame once')
    },
  })),
  {
    name: 'go to the stack when the rule is removed',
    run: async (scene, wire) => {
      await wire.put(hold(wire))
      await areHeld(wire, wire.clientFrames(1, 5))
      const stack = await wire.watchStack()
      await scene.redirector.remove(wire.flow(1))
      await stack.gets(5, 'what was held')
      await wire.nothingElseSteered('nothing of it')
    },
  },
  {
    name: 'go to the stack when the redirector is closed',
    run: async (scene, wire) => {
      await wire.put(hold(wire))
      await areHeld(wire, wire.clientFrames(1, 5))
      const stack = await wire.watchStack()
      await scene.redirector.close()
      await stack.gets(5, 'what was held')
    },
  },
  {
    name: 'stay held when the rule is put again, also as one that is silent',
    run: async (_, wire) => {
      await wire.put(hold(wire))
      const frames = wire.clientFrames(1, 3)
      await areHeld(wire, frames)
      await wire.put({ ...hold(wire), handoff: { handoff: 1, epoch: 1 } })
      await wire.put({ ...hold(wire), silent: true })
      const newer = wire.clientFrames(1, 3)
      await areHeld(wire, newer)
      await wire.put(wire.steering(1))
      await wire.areSteered([...frames, ...newer], 'what was held under both rules')
    },
  },
  {
    name: 'stay held when another flow is released',
    run: async (_, wire) => {
      await wire.put(hold(wire, 1))
      await wire.put(hold(wire, 2))
      const [first, second] = [wire.clientFrames(1, 3), wire.clientFrames(2, 3)]
      await areHeld(
        wire,
        [0, 1, 2].flatMap((index) => [first[index], second[index]] as Uint8Array[]),
      )
      await wire.put(wire.steering(2))
      await wire.areSteered(second, 'the flow that is released')
      await wire.nothingElseSteered('nothing of the other')
      await wire.put(wire.steering(1))
      await wire.areSteered(first, 'the other, later')
    },
  },
  {
    name: 'are held again when the rule becomes hold again',
    run: async (_, wire) => {
      for (let round = 0; round < 3; round++) {
        await wire.put(hold(wire))
        const frames = wire.clientFrames(1, 3)
        await areHeld(wire, frames)
        await wire.put(wire.steering(1))
        await wire.areSteered(frames, `in round ${round + 1}`)
      }
    },
  },
  {
    name: 'of this host are stored too, in order, but for RST: they go out when the rule is removed',
    run: async (scene, wire) => {
      await wire.put(hold(wire))
      const frames = [wire.hostFrame(1), wire.hostFrame(1), wire.hostFrame(1)]
      await wire.emit(...frames, wire.hostFrame(1, { flags: TCP.RST }), wire.hostFrame(1, { flags: TCP.RST | TCP.ACK }))
      await wire.nothingElseSaid('nothing that is held')
      await scene.redirector.remove(wire.flow(1))
      await wire.areSaid(frames, 'what this host said')
      await wire.nothingElseSaid('no RST')
    },
  },
  {
    name: 'of this host go out to the client when the rule becomes steer: they were said before',
    run: async (_, wire) => {
      await wire.put(hold(wire))
      const said = wire.hostFrame(1)
      const heard = wire.clientFrame(1)
      await wire.emit(said)
      await wire.send(heard)
      await wire.nothingElseSaid('nothing that is held')
      await wire.put(wire.steering(1))
      await wire.areSaid([said], 'what this host said')
      await wire.areSteered([heard], 'what the client said')
    },
  },
  {
    name: 'of this host are discarded once the rule is silent, and those from before are not',
    run: async (scene, wire) => {
      await wire.put(hold(wire))
      const before = wire.hostFrame(1)
      await wire.emit(before)
      await wire.put({ ...hold(wire), silent: true })
      await wire.emit(wire.hostFrame(1), wire.hostFrame(1))
      await scene.redirector.remove(wire.flow(1))
      await wire.areSaid([before], 'what this host said before it was silenced')
      await wire.nothingElseSaid('nothing from after that')
    },
  },
  {
    name: 'go back as they are when the rule becomes steer and returning',
    run: async (scene, wire) => {
      await wire.put(hold(wire))
      const frames = wire.clientFrames(1, 3)
      await areHeld(wire, frames)
      await putOptional(scene.redirector, { ...wire.steering(1), returning: true })
      await wire.areSteered(frames, 'what was held, with its hop limit')
    },
  },
]

export const holdPacketCases = group(
  'packets that are held',
  packetCases([
    ...cases.map((each) => ({ ...each, absence: withoutHold })),
    {
      name: 'are counted, those of this host as well',
      absence: (scene) => withoutHold(scene) ?? withoutCounters(scene),
      run: async (scene, wire) => {
        await wire.put(hold(wire))
        await areHeld(wire, wire.clientFrames(1, 4))
        await wire.emit(wire.hostFrame(1), wire.hostFrame(1))
        await wire.nothingElseSaid('nothing that is held')
        const counters = await scene.redirector.counters(wire.flow(1))
        equal(counters?.packets, 4n, 'packets')
        equal(counters?.egressPackets, 2n, 'egressPackets')
        await wire.put(wire.steering(1))
        equal((await scene.redirector.counters(wire.flow(1)))?.packets, 0n, 'packets of the rule that releases them')
      },
    },
  ]),
)
