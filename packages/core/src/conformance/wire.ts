import { FlowKey } from '../flow.ts'
import type { PutOutcome, Rule } from '../redirector.ts'
import { ConformanceFailure, check, equal } from './failure.ts'
import { type FrameFields, readdressed, readFrame, tcpFrame } from './frames.ts'
import { hexadecimal } from './octets.ts'
import { steer, targetOf } from './rules.ts'
import type { Scene } from './scene.ts'
import { eventually, pause } from './time.ts'

export type Host = 'client' | 'target'

const FIRST_PORT = 40_000
const SERVICE_PORT = 81
/** The numbers of two flows that no test uses for itself: one that is steered for a moment, and one that never has a rule. */
export const STEERED_FENCE = 9998
export const OPEN_FENCE = 9999
/** Milliseconds between two packets that ask whether a rule is active. */
const PROBE_INTERVAL = 5
const PROBE = 'is the rule active now?'

let wires = 0

/** What one test sends and sees on the segment of the device. */
export class Wire {
  readonly family: 4 | 6
  readonly #scene: Scene
  readonly #waiting: Record<Host, Uint8Array[]> = { client: [], target: [] }
  /** In every frame of this test: what is left of an earlier test is nobody's. */
  readonly #token = `conformance test ${++wires}: `
  #frames = 0

  private constructor(scene: Scene, family: 4 | 6) {
    this.#scene = scene
    this.family = family
  }

  /** For packets of the family. Takes away what earlier tests have left at the hosts: a queue that is full has no room for a frame of this one. */
  static async begin(scene: Scene, family: 4 | 6): Promise<Wire> {
    for (const host of ['client', 'target'] as const) {
      await eventually(`frames of earlier tests come to an end at the ${host}`, scene.limits.step, async () => {
        return (await scene.network.received(host)).length === 0
      })
    }
    return new Wire(scene, family)
  }

  /** A flow from the client to the service. */
  flow(number: number): FlowKey {
    const { clientAddresses, serviceAddresses } = this.#scene.network
    const [client, service] = [clientAddresses[this.family], serviceAddresses[this.family]]
    check(client !== undefined && service !== undefined, `the network has no addresses of IPv${this.family}`)
    return FlowKey.of({ address: client, port: FIRST_PORT + number }, { address: service, port: SERVICE_PORT })
  }

  /** Steers the flow to the network's target in mode l2. */
  steering(number: number): Rule & { action: 'steer' } {
    return steer(this.flow(number), targetOf('l2', this.#scene.network, this.family))
  }

  /** A frame of the client, other than all before it. */
  clientFrame(number: number, more: Partial<FrameFields> = {}): Uint8Array {
    const { client, device } = this.#scene.network
    const { client: from, service: to } = this.flow(number)
    return tcpFrame({ from, to, source: client, destination: device, payload: this.#payload(), ...more })
  }

  clientFrames(number: number, count: number, more: Partial<FrameFields> = {}): Uint8Array[] {
    return Array.from({ length: count }, () => this.clientFrame(number, more))
  }

  /** A frame of this host's stack on the same flow, other than all before it. */
  hostFrame(number: number, more: Partial<FrameFields> = {}): Uint8Array {
    const { client, device } = this.#scene.network
    const { client: to, service: from } = this.flow(number)
    return tcpFrame({ from, to, source: device, destination: client, payload: this.#payload(), ...more })
  }

  #payload(): string {
    return `${this.#token}frame ${++this.#frames}`
  }

  /** The frame as it is steered in mode l2: with other MAC addresses, and nothing else changed. */
  steered(frame: Uint8Array): Uint8Array {
    const { device, target } = this.#scene.network
    return readdressed(frame, device, target)
  }

  /** The client sends frames. */
  async send(...frames: Uint8Array[]): Promise<void> {
    for (const frame of frames) await this.#scene.network.send(frame)
  }

  /** This host's stack sends frames. */
  async emit(...frames: Uint8Array[]): Promise<void> {
    for (const frame of frames) await this.#scene.network.emit(frame)
  }

  /** Puts the rule, and waits until packets take it. */
  async put(rule: Rule): Promise<void> {
    const outcome = await this.#scene.redirector.put(rule)
    if (rule.action === 'steer') await this.#settle(outcome, rule.flow)
  }

  /** Checks that the next frames that the client sent reach the target in this order, steered in mode l2. */
  async areSteered(frames: readonly Uint8Array[], what: string): Promise<void> {
    await this.#arrive(
      'target',
      frames.map((frame) => this.steered(frame)),
      what,
    )
  }

  /** Checks that the next frames that this host sent reach the client in this order, unchanged. */
  async areSaid(frames: readonly Uint8Array[], what: string): Promise<void> {
    await this.#arrive('client', frames, what)
  }

  /** Checks that nothing has reached the target but what was asked for: a steered frame does not overtake others. */
  async nothingElseSteered(what: string): Promise<void> {
    await this.put(this.steering(STEERED_FENCE))
    await this.fence(what)
    await this.#scene.redirector.remove(this.flow(STEERED_FENCE))
  }

  /** {@link nothingElseSteered} for a redirector that has the rule of the fence already. */
  async fence(what: string): Promise<void> {
    const fence = this.clientFrame(STEERED_FENCE)
    await this.send(fence)
    await this.areSteered([fence], `${what}: nothing but this`)
  }

  /** Checks that nothing has reached the client but what was asked for. */
  async nothingElseSaid(what: string): Promise<void> {
    const fence = this.hostFrame(OPEN_FENCE)
    await this.emit(fence)
    await this.areSaid([fence], `${what}: nothing but this`)
  }

  /** Counts what this host's stack gets from here on. */
  async watchStack(): Promise<StackWatch> {
    const { network, limits } = this.#scene
    let expected = await network.stackPackets()
    const has = async (what: string) => {
      await eventually(
        `this host's stack gets ${what}`,
        limits.step,
        async () => (await network.stackPackets()) >= expected,
      )
      equal(await network.stackPackets(), expected, `packets that this host's stack has got: ${what}`)
    }
    return {
      gets: async (packets, what) => {
        expected += packets
        await has(what)
        // What comes after has come when this has.
        await this.send(this.clientFrame(OPEN_FENCE))
        expected += 1
        await has(`${what}, and one packet of another flow`)
      },
    }
  }

  /** The next frame of this test at a host. */
  async next(host: Host, what: string): Promise<Uint8Array> {
    const waiting = this.#waiting[host]
    await eventually(`${what}: a frame reaches the ${host}`, this.#scene.limits.step, async () => {
      const frames = await this.#scene.network.received(host)
      waiting.push(...frames.filter((frame) => this.#isOurs(host, frame)))
      return waiting.length > 0
    })
    return waiting.shift() as Uint8Array
  }

  async #arrive(host: Host, frames: readonly Uint8Array[], what: string): Promise<void> {
    for (const [index, frame] of frames.entries()) {
      const which = `${what}: frame ${index + 1} of ${frames.length} at the ${host}`
      same(await this.next(host, which), frame, which)
    }
  }

  /** Neither neighbour discovery nor what this host's stack answers by itself. */
  #isOurs(host: Host, frame: Uint8Array): boolean {
    if (readFrame(frame)?.destination.equals(this.#scene.network[host]) !== true) return false
    return textOf(frame).includes(this.#token)
  }

  /** A rule that was only accepted is active when a packet was seen to take it. */
  async #settle(outcome: PutOutcome, { client: from, service: to }: FlowKey): Promise<void> {
    if (outcome === 'active') return
    const { network, limits } = this.#scene
    const probe = tcpFrame({ from, to, source: network.client, destination: network.device, payload: PROBE })
    const deadline = performance.now() + limits.step
    while (performance.now() < deadline) {
      await this.send(probe)
      await pause(PROBE_INTERVAL)
      const frames = await network.received('target')
      this.#waiting.target.push(...frames.filter((frame) => this.#isOurs('target', frame)))
      if (frames.some((frame) => textOf(frame).includes(PROBE))) return
    }
    throw new ConformanceFailure(
      `the rule of port ${from.port} was accepted, and no packet has taken it in ${limits.step} ms`,
    )
  }
}

export interface StackWatch {
  /** Checks that the stack gets this many packets since the last question, and no more. */
  gets(packets: number, what: string): Promise<void>
}

function textOf(frame: Uint8Array): string {
  return new TextDecoder('latin1').decode(frame)
}

/** Compares bytes. Throws {@link ConformanceFailure}. */
export function same(found: Uint8Array, expected: Uint8Array, what: string): void {
  const [actual, wanted] = [hexadecimal(found), hexadecimal(expected)]
  check(actual === wanted, `${what}:\nexpected ${wanted}\nfound    ${actual}`)
}
