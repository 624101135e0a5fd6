import type { FlowKey } from '../flow.ts'

const BITS = 1 << 22

/**
 * Remembers which flows have changed since {@link clear}, in half a megabyte, however many they are: one bit for all flows with the
 * same hash. So some count as changed that have not; none counts as unchanged that has.
 */
export class ChangedFlows {
  readonly #words = new Uint32Array(BITS / 32)
  #empty = true

  add(flow: FlowKey): void {
    const hash = hashOf(flow)
    this.#words[hash >>> 5] = (this.#words[hash >>> 5] as number) | (1 << (hash & 31))
    this.#empty = false
  }

  has(flow: FlowKey): boolean {
    const hash = hashOf(flow)
    return ((this.#words[hash >>> 5] as number) & (1 << (hash & 31))) !== 0
  }

  clear(): void {
    if (!this.#empty) this.#words.fill(0)
    this.#empty = true
  }
}

/** FNV-1a, folded to the number of bits. */
function hashOf({ bytes }: FlowKey): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < bytes.length; index++) hash = Math.imul(hash ^ (bytes[index] as number), 0x01000193)
  return ((hash >>> 22) ^ hash) & (BITS - 1)
}
