import { VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'
import { TestbedError } from '../errors.ts'

/** `struct faults_wait` of bpf/faults.c, between the virtio-net header and the frame. */
const WAIT_LENGTH = 8
/** `VIRTIO_NET_HDR_F_NEEDS_CSUM` (include/uapi/linux/virtio_net.h). */
const NEEDS_CHECKSUM = 1

/** What may wait at once, in bytes: more means that the machine cannot keep up, and then the delays are no longer those asked for. */
const MAXIMUM_BYTES = 512 * 1024 * 1024

/** A frame that waits, and where it goes on. */
export interface WaitingFrame<Destination> {
  readonly frame: Uint8Array
  readonly destination: Destination
  /** In microseconds of the caller's clock. */
  readonly due: number
  readonly order: number
}

/**
 * Frames in the order in which they are due. Those of one destination keep their order, whatever each one's own time is, but those
 * that are to be reordered.
 */
export class DelayLine<Destination> {
  /** A binary heap: no entry is due before the one at half its index. */
  readonly #heap: WaitingFrame<Destination>[] = []
  readonly #lastDue = new Map<Destination, number>()
  #order = 0
  #bytes = 0

  /** When the first frame is due, undefined when none waits. */
  get nextDue(): number | undefined {
    return this.#heap[0]?.due
  }

  /** Takes a frame as it was read from the TAP. Throws {@link TestbedError} when too much waits. */
  push(received: Uint8Array, destination: Destination, now: number): void {
    const view = new DataView(received.buffer, received.byteOffset, received.byteLength)
    const wait = view.getUint32(VIRTIO_NET_HEADER_LENGTH, true)
    const reorder = view.getUint32(VIRTIO_NET_HEADER_LENGTH + 4, true)
    const inOrder = Math.max(now + wait, this.#lastDue.get(destination) ?? 0)
    if (reorder === 0) this.#lastDue.set(destination, inOrder)
    this.#bytes += received.length
    if (this.#bytes > MAXIMUM_BYTES) {
      throw new TestbedError(`More than ${MAXIMUM_BYTES} bytes wait on a delayed link: send less or delay less`)
    }
    const frame = withoutWait(received, view)
    this.#insert({ frame, destination, due: inOrder + reorder, order: this.#order++ })
  }

  /** The next frame that is due by `now`, undefined when there is none. */
  take(now: number): WaitingFrame<Destination> | undefined {
    const first = this.#heap[0]
    if (first === undefined || first.due > now) return undefined
    this.#removeFirst()
    this.#bytes -= first.frame.length + WAIT_LENGTH
    return first
  }

  #insert(entry: WaitingFrame<Destination>): void {
    const heap = this.#heap
    let index = heap.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent] as WaitingFrame<Destination>
      if (!isBefore(entry, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = entry
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      if (left >= heap.length) break
      const [one, other] = [heap[left] as WaitingFrame<Destination>, heap[left + 1]]
      const child = other !== undefined && isBefore(other, one) ? left + 1 : left
      const below = heap[child] as WaitingFrame<Destination>
      if (!isBefore(below, last)) break
      heap[index] = below
      index = child
    }
    heap[index] = last
  }
}

function isBefore<Destination>(one: WaitingFrame<Destination>, other: WaitingFrame<Destination>): boolean {
  return one.due < other.due || (one.due === other.due && one.order < other.order)
}

/** The frame as it was on the link. The offsets in its virtio-net header count from the frame's start, which moves. */
function withoutWait(received: Uint8Array, view: DataView): Uint8Array {
  const headerLength = view.getUint16(2, true)
  if (headerLength >= WAIT_LENGTH) view.setUint16(2, headerLength - WAIT_LENGTH, true)
  if (((received[0] ?? 0) & NEEDS_CHECKSUM) !== 0) view.setUint16(6, view.getUint16(6, true) - WAIT_LENGTH, true)
  received.copyWithin(WAIT_LENGTH, 0, VIRTIO_NET_HEADER_LENGTH)
  return received.subarray(WAIT_LENGTH)
}
