import type { Rule } from '../../../redirector.ts'
import { group } from '../../case.ts'
import { OTHER_TARGET } from '../../rules.ts'
import type { Scene } from '../../scene.ts'
import { eventually, pause } from '../../time.ts'
import { STEERED_FENCE, type Wire } from '../../wire.ts'
import { packetCases, withoutHold } from './packet-case.ts'

const TURNS = 500
/** After so many turns the packets get a millisecond to arrive under the rule of now. */
const PAUSE_EVERY = 20

/** Packets of the flow come all the time. Returns how to stop that. */
async function traffic({ network, limits }: Scene, wire: Wire): Promise<() => Promise<void>> {
  const frame = wire.clientFrame(1)
  if (network.flood === undefined) return async () => {}
  const stop = await network.flood(frame)
  await eventually('packets arrive', limits.step, async () => (await network.received('target')).length > 0)
  return stop
}

/** Puts two rules in turns while packets come, and checks that the stack gets none of them. */
async function takesTurns(scene: Scene, wire: Wire, rules: readonly [Rule, Rule]): Promise<void> {
  const { network, redirector } = scene
  await wire.put(wire.steering(1))
  const stop = await traffic(scene, wire)
  const stack = await wire.watchStack()
  try {
    for (let turn = 0; turn < TURNS; turn++) {
      const put = redirector.put(rules[turn % 2] as Rule)
      if (network.flood === undefined) await wire.send(wire.clientFrame(1))
      await put
      if (turn % PAUSE_EVERY > 0) continue
      await pause(1)
      await network.received('target')
    }
  } finally {
    await stop()
  }
  await stack.gets(0, 'nothing while rules replace each other')
  await wire.put(wire.steering(1))
  await stack.gets(0, 'nothing after it')
}

/** While nobody has the device, and after the next owner has taken it, steered packets are steered and held flows are locked. */
async function staysInForce(scene: Scene, wire: Wire, leave: (rules: readonly Rule[]) => Promise<void>): Promise<void> {
  const held = scene.manifest.holds
  const rules: Rule[] = [wire.steering(1), wire.steering(STEERED_FENCE)]
  if (held) rules.push({ action: 'hold', flow: wire.flow(2) })
  await leave(rules)
  const stack = await wire.watchStack()
  const pass = async (when: string) => {
    const frame = wire.clientFrame(1)
    await wire.send(frame, ...(held ? [wire.clientFrame(2)] : []))
    await wire.areSteered([frame], when)
    await wire.fence(`${when}: nothing of the held flow`)
    await stack.gets(0, `nothing ${when}`)
  }
  await pass('while nobody has the device')
  const next = await scene.open()
  await pass('after it was adopted')
  if (!held) return
  // What came when nobody had the device is lost. What comes from now on is stored, and released as ever.
  await next.remove(wire.flow(2))
  await stack.gets(1, 'what was held since the device was adopted')
  await next.put(rules[2] as Rule)
  const frame = wire.clientFrame(2)
  await wire.send(frame)
  await next.put(wire.steering(2))
  await wire.areSteered([frame], 'what an adopter holds')
}

export const changePacketCases = group(
  'packets while rules change',
  packetCases([
    {
      name: 'take one rule or the other when hold and steer replace each other',
      absence: withoutHold,
      run: (scene, wire) => takesTurns(scene, wire, [{ action: 'hold', flow: wire.flow(1) }, wire.steering(1)]),
    },
    {
      name: 'take one rule or the other when two targets replace each other',
      run: (scene, wire) => takesTurns(scene, wire, [{ ...wire.steering(1), target: OTHER_TARGET }, wire.steering(1)]),
    },
    {
      name: 'take their rule after the device was released, and after the next owner has taken it',
      run: (scene, wire) =>
        staysInForce(scene, wire, async (rules) => {
          for (const rule of rules) await wire.put(rule)
          if (scene.manifest.holds) await wire.send(wire.clientFrame(2))
          await scene.redirector.release()
        }),
    },
    {
      name: 'take their rule after its process was killed, and after the next owner has taken it',
      absence: ({ device }) => (device.crash === undefined ? 'the factory has no way to kill an owner' : undefined),
      run: (scene, wire) =>
        staysInForce(scene, wire, async (rules) => {
          await scene.redirector.close()
          await scene.device.crash?.(rules)
        }),
    },
    {
      name: 'go to the stack when the redirector is closed',
      run: async (scene, wire) => {
        await wire.put(wire.steering(1))
        await scene.redirector.close()
        const stack = await wire.watchStack()
        await wire.send(...wire.clientFrames(1, 3))
        await stack.gets(3, 'what was steered before')
      },
    },
  ]),
)
