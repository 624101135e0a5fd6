import type { MacAddress } from '@xoffload/core'
import { LinuxError, type Tap } from '@xoffload/linux'
import { heldFrameFlow, steerHeldFrame, steerHeldFrameThrough } from './held-frame.ts'

/** What has become of held frames. A frame is a packet, or a large segment that stands for several (GSO). */
export interface HoldStatistics {
  /** Frames stored now, and their bytes. */
  readonly heldFrames: number
  readonly heldBytes: number
  /** Frames that were discarded because the store was full. */
  readonly overflowedFrames: number
  /** Frames that the kernel dropped before the store saw them: this process did not read the TAP in time. */
  readonly unreadFrames: number
  /** Frames that the kernel did not take back: the device is down, or out of memory. */
  readonly lostFrames: number
}

/** How many frames the TAP keeps until they are read. */
export const TAP_QUEUE_LENGTH = 8192
/** How often the TAP is emptied while a flow is held. Its queue must not overflow in between. */
const DRAIN_INTERVAL_MILLISECONDS = 2
/** How long the TAP is still watched after the last hold: a packet may be on its way to it on another CPU. */
const LATE_FRAMES_MILLISECONDS = 200
/**
 * The most frames to read at a time, a few milliseconds' work. Under a flood the TAP is never empty, and a released packet makes
 * its receiver ask for more: neither may keep the process from everything else. The rest is read a tick later.
 */
const DRAIN_LIMIT = 2048

/**
 * The packets of held flows, in order of arrival per flow. The tc programs send them to a TAP device; this reads them from there,
 * and writes them back once their flow is no longer held.
 *
 * A frame that arrives for a flow that is not held (any more) is written back at once: whatever the program saw a moment ago, the
 * rule of now decides. So nothing stays behind when a rule is replaced while a packet is between the program and the TAP.
 */
export class HoldQueue {
  readonly #tap: Tap
  readonly #maximumBytes: number
  readonly #flows = new Map<string, Uint8Array[]>()
  #timer: ReturnType<typeof setInterval> | undefined
  #emptyTicks = 0
  #frames = 0
  #bytes = 0
  #overflowed = 0
  #lost = 0

  constructor(tap: Tap, maximumBytes: number) {
    this.#tap = tap
    this.#maximumBytes = maximumBytes
  }

  get statistics(): HoldStatistics {
    return {
      heldFrames: this.#frames,
      heldBytes: this.#bytes,
      overflowedFrames: this.#overflowed,
      unreadFrames: this.#tap.dropped,
      lostFrames: this.#lost,
    }
  }

  /** The number of flows that are held. */
  get size(): number {
    return this.#flows.size
  }

  flows(): string[] {
    return [...this.#flows.keys()]
  }

  has(flow: string): boolean {
    return this.#flows.has(flow)
  }

  /** To be called before the flow's rule says `hold`. What the flow has stored stays. */
  hold(flow: string): void {
    if (!this.#flows.has(flow)) this.#flows.set(flow, [])
    this.#emptyTicks = 0
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => this.#tick(), DRAIN_INTERVAL_MILLISECONDS)
    this.#timer.unref()
  }

  /**
   * To be called right before the flow's rule stops to say `hold`: gives its frames back to the kernel, those of the client to go
   * to `steerTo` (the number of a tunnel, or an address on this segment), or to this host's stack without it. The flow stays held, so what comes meanwhile lines up behind them. Would
   * they go out after the rule was replaced, newer packets could overtake them, and the client would resend a whole window.
   */
  flush(flow: string, steerTo?: MacAddress | number): void {
    const frames = this.#flows.get(flow)
    for (let budget = DRAIN_LIMIT; frames !== undefined && budget > 0; ) {
      budget -= this.drain(budget)
      if (frames.length === 0) return
      for (const frame of this.#take(frames)) {
        if (typeof steerTo === 'number') steerHeldFrameThrough(frame, steerTo)
        else if (steerTo !== undefined) steerHeldFrame(frame, steerTo)
        this.#writeBack(frame)
      }
    }
  }

  /** To be called after the flow's rule has stopped to say `hold`: what is left of its frames takes the rule of now. */
  release(flow: string): void {
    const frames = this.#flows.get(flow)
    if (frames === undefined) return
    this.drain()
    this.#flows.delete(flow)
    for (const frame of this.#take(frames)) this.#writeBack(frame)
  }

  /** Reads what is in the TAP, but at most `limit` frames. Returns the number of frames. */
  drain(limit = DRAIN_LIMIT): number {
    for (let count = 0; count < limit; count++) {
      const frame = this.#tap.read()
      if (frame === undefined) return count
      const flow = heldFrameFlow(frame)
      if (flow === undefined) continue
      const frames = this.#flows.get(flow)
      if (frames === undefined) this.#writeBack(frame)
      else this.#store(frames, frame)
    }
    return limit
  }

  /** Stops the timer and forgets all frames. The TAP stays open. */
  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#flows.clear()
    this.#frames = 0
    this.#bytes = 0
  }

  #store(frames: Uint8Array[], frame: Uint8Array): void {
    if (this.#bytes + frame.length > this.#maximumBytes) {
      this.#overflowed += 1
      return
    }
    frames.push(frame)
    this.#frames += 1
    this.#bytes += frame.length
  }

  #take(frames: Uint8Array[]): Uint8Array[] {
    const taken = frames.splice(0)
    this.#frames -= taken.length
    for (const frame of taken) this.#bytes -= frame.length
    return taken
  }

  #writeBack(frame: Uint8Array): void {
    try {
      this.#tap.write(frame)
    } catch (error) {
      // One packet is lost, as on any link: the connection recovers, and the other frames must still go out.
      if (!(error instanceof LinuxError)) throw error
      this.#lost += 1
    }
  }

  #tick(): void {
    this.drain()
    if (this.#flows.size > 0) return
    this.#emptyTicks += 1
    if (this.#emptyTicks * DRAIN_INTERVAL_MILLISECONDS < LATE_FRAMES_MILLISECONDS) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
