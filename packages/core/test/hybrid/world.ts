import type { FlowKey, Redirector, Rule } from '../../src/index.ts'
import { type HybridPolicy, HybridRedirector, type RuleQueueLimits } from '../../src/index.ts'
import {
  MemoryDevice,
  MemoryRedirector,
  NIC_PROFILES,
  type NicKnobs,
  NicModel,
  type NicProfile,
} from '../../src/simulation/index.ts'
import { VirtualClock } from '../rule-queue/virtual-clock.ts'

export { flow, steer } from '../rule-queue/world.ts'

export interface HybridWorldOptions {
  readonly profile?: NicProfile
  /** Of the NIC. */
  readonly capacity?: number
  readonly policy?: Partial<HybridPolicy>
  readonly queue?: Partial<RuleQueueLimits>
  readonly knobs?: Partial<NicKnobs>
  /** Put around the software redirector. */
  readonly around?: (software: Redirector, clock: VirtualClock) => Redirector
}

/** A host whose NIC steers what it can, and whose kernel gets the other packets; in virtual time. */
export class HybridWorld {
  readonly clock = new VirtualClock()
  /** The rules of the NIC that are active, and those of the kernel. */
  readonly card = new MemoryDevice(this.clock)
  readonly kernel = new MemoryDevice(this.clock)
  readonly errors: unknown[] = []
  readonly #options: HybridWorldOptions
  nic: NicModel
  hybrid: HybridRedirector

  constructor(options: HybridWorldOptions = {}) {
    this.#options = options
    ;[this.nic, this.hybrid] = this.#process()
  }

  /** Opens the redirectors of a process, the first one or one more after the one before has crashed or released the devices. */
  async open(): Promise<void> {
    ;[this.nic, this.hybrid] = this.#process()
    await this.clock.until(this.hybrid.open())
  }

  /** The process is killed. */
  crash(): void {
    this.card.crash()
    this.kernel.crash()
  }

  /** The client sends; returns the rule that its packets take, in the NIC or behind it. */
  receive(flow: FlowKey, bytes = 60, packets = 1): Rule | undefined {
    return this.card.receive(flow, bytes, packets) ?? this.kernel.receive(flow, bytes, packets)
  }

  /** The client sends so many packets of 1500 bytes in a second, for so many milliseconds. */
  async flood(flow: FlowKey, perSecond: number, milliseconds: number): Promise<void> {
    const step = 20
    for (let at = 0; at < milliseconds; at += step) {
      const packets = (perSecond * step) / 1000
      this.receive(flow, 1500 * packets, packets)
      await this.clock.advance(step)
    }
  }

  #process(): [NicModel, HybridRedirector] {
    const { profile = NIC_PROFILES.cx5, capacity, policy, queue, knobs, around } = this.#options
    const { clock } = this
    const table = new MemoryRedirector({ device: this.card })
    const nic = new NicModel({ clock, profile, table, ...(capacity && { capacity }), ...(knobs && { knobs }) })
    const kernel = new MemoryRedirector({ device: this.kernel })
    const software = around?.(kernel, clock) ?? kernel
    const onError = (error: unknown): void => void this.errors.push(error)
    const parts = { software, hardware: nic, clock, onError, ...(policy && { policy }), ...(queue && { queue }) }
    return [nic, new HybridRedirector(parts)]
  }
}

export async function hybridWorld(options: HybridWorldOptions = {}): Promise<HybridWorld> {
  const world = new HybridWorld(options)
  await world.open()
  return world
}
