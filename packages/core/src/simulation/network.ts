import { describePacket, type Packet } from './packet.ts'
import type { World } from './world.ts'

/** What is at the end of a path: a host's device, or a client. */
export interface Receiver {
  readonly name: string
  /** A small number of its own. */
  readonly index: number
  input(packet: Packet): void
}

/** Hosts and clients. */
const RECEIVERS = 16
const PATHS = RECEIVERS * RECEIVERS

/** Carries packets, which it delays and, as the plan says, loses, duplicates and reorders. */
export class Network {
  packets = 0
  readonly #world: World
  /** When the last packet of each path arrives: without reordering none arrives before it. */
  readonly #last: number[] = new Array(PATHS).fill(0)

  constructor(world: World) {
    this.#world = world
  }

  send(from: Receiver, to: Receiver, packet: Packet): void {
    const { random, plan, calm } = this.#world
    this.packets += 1
    if (!calm && random.chance(plan.loss)) {
      this.#world.note(() => `lost: ${describePacket(packet)}`)
      return
    }
    this.#deliver(from, to, packet)
    if (!calm && random.chance(plan.duplication)) this.#deliver(from, to, { ...packet })
  }

  #deliver(from: Receiver, to: Receiver, packet: Packet): void {
    const { random, plan, queue } = this.#world
    let delay = random.between(plan.delay[0], plan.delay[1])
    if (!plan.reordering) {
      const path = from.index * RECEIVERS + to.index
      const arrival = Math.max(queue.now + delay, this.#last[path] as number)
      this.#last[path] = arrival
      delay = arrival - queue.now
    }
    queue.after(delay, () => to.input(packet))
  }
}
