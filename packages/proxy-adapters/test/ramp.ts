import type { ResumeHandler } from '@xoffload/proxy-adapters/bun'

/** A body in which a lost, repeated or misplaced byte shows: the period is the largest 8-bit prime. */
export const SIZE = 20_000_000
export const ramp = Uint8Array.from({ length: SIZE }, (_, index) => index % 251)

/** The ramp from `offset` on, in chunks of different sizes, no faster than it is read. */
export function rampFrom(offset: number): ReadableStream<Uint8Array> {
  let position = offset
  return new ReadableStream(
    {
      pull(controller) {
        if (position === SIZE) return controller.close()
        const chunk = ramp.subarray(position, position + 1 + ((position * 7) % 90_000))
        position += chunk.length
        controller.enqueue(chunk)
      },
    },
    { highWaterMark: 0 },
  )
}

/** Continues responses whose state is `ramp`. */
export const resumeRamp: ResumeHandler = (state, offset) =>
  new TextDecoder().decode(state) === 'ramp' ? rampFrom(offset) : undefined
