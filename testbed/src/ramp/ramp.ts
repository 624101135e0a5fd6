/**
 * A byte stream whose every byte follows from its position: position modulo 251. The period is the largest prime that fits
 * into a byte, so that a lost, repeated or moved block shows even when it is aligned to a power of two.
 */

const PERIOD = 251
const LONGEST_CHUNK = 512 * 1024
const pattern = Uint8Array.from({ length: LONGEST_CHUNK + PERIOD }, (_, position) => position % PERIOD)

/** The bytes from `position` on, at most 512 KiB of them. A view: not to be changed. */
export function rampBytes(position: number, length: number): Uint8Array {
  const start = position % PERIOD
  return pattern.subarray(start, start + Math.min(length, LONGEST_CHUNK))
}

/** A stream that is not the ramp that it should be. */
export class RampError extends Error {
  override readonly name = 'RampError'
}

/** Throws a {@link RampError} with the first position that differs, unless `chunk` is the ramp from `position` on. */
export function checkRamp(chunk: Uint8Array, position: number): void {
  for (let offset = 0; offset < chunk.length; offset += LONGEST_CHUNK) {
    const part = chunk.subarray(offset, offset + LONGEST_CHUNK)
    const expected = rampBytes(position + offset, part.length)
    if (Buffer.compare(part, expected) === 0) continue
    const index = part.findIndex((byte, at) => byte !== expected[at])
    throw new RampError(
      `byte ${position + offset + index} is ${part[index]} and should be ${expected[index]}: bytes were lost, repeated or reordered`,
    )
  }
}
