import type { FlowCounters } from '../redirector.ts'

export const NO_PACKETS: FlowCounters = { packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n }

/** Counters of packets that were seen in different places. */
export function sum(one: FlowCounters, other: FlowCounters | undefined): FlowCounters {
  if (other === undefined) return one
  return {
    packets: one.packets + other.packets,
    bytes: one.bytes + other.bytes,
    egressPackets: one.egressPackets + other.egressPackets,
    lastSeen: later(one.lastSeen, other.lastSeen),
  }
}

function later(one: bigint, other: bigint): bigint {
  if (one > other) return one
  return other
}

/** A map that forgets the oldest entry when it has more than `limit`. */
export class BoundedMap<V> {
  readonly #entries = new Map<string, V>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    return this.#entries.get(key)
  }

  set(key: string, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#limit) return
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest)
      return
    }
  }

  delete(key: string): boolean {
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }
}
