import type { Random } from './random.ts'

/** Numbers at which lengths and counters go wrong. */
const EXTREMES = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0xff_ffff, 0x7fff_ffff]
const HIGHEST = [0x8000_0000, 0xffff_fff0, 0xffff_fffc, 0xffff_fffd, 0xffff_fffe, 0xffff_ffff]
const NUMBERS = [...EXTREMES, ...HIGHEST]

/** The most that a mutation makes of an input, in bytes. */
const MAXIMUM_LENGTH = 64 * 1024

/**
 * Bytes made for a decoder: one in ten at random, one in ten valid, the others valid ones with one to eight mutations.
 * @param corpus valid encodings, at least one. @param words bytes that mean something to the decoder.
 */
export function mutated(random: Random, corpus: readonly Uint8Array[], words: readonly Uint8Array[] = []): Uint8Array {
  const kind = random.below(10)
  if (kind === 0) return random.bytes(random.length(600))
  let bytes: Uint8Array = random.pick(corpus).slice()
  if (kind === 1) return bytes
  for (let count = 1 + random.length(7); count > 0; count--) bytes = mutate(random, bytes, corpus, words)
  return bytes.subarray(0, MAXIMUM_LENGTH)
}

function mutate(
  random: Random,
  bytes: Uint8Array,
  corpus: readonly Uint8Array[],
  words: readonly Uint8Array[],
): Uint8Array {
  const at = random.below(bytes.length + 1)
  const length = random.length(Math.min(bytes.length - at, 64))
  switch (random.below(words.length > 0 ? 14 : 12)) {
    case 0:
      return flipped(random, bytes, at)
    case 1:
      return replaced(bytes, at, 1, Uint8Array.of(random.pick(NUMBERS)))
    case 2:
      return replaced(bytes, at, 2, integer(random, bytes, 2))
    case 3:
      return replaced(bytes, at, 4, integer(random, bytes, 4))
    case 4:
      return bytes.slice(0, at)
    case 5:
      return replaced(bytes, at, length, new Uint8Array())
    case 6:
      return replaced(bytes, at, 0, random.bytes(random.length(64)))
    case 7:
      // Twice the same, now and then very often.
      return replaced(
        bytes,
        at,
        0,
        repeated(bytes.subarray(at, at + length), random.oneIn(20) ? random.length(999) : 1),
      )
    case 8: {
      const other = random.pick(corpus)
      return replaced(bytes, at, bytes.length, other.subarray(random.below(other.length + 1)))
    }
    case 9:
      return replaced(bytes, at, length, random.bytes(length))
    case 10:
    case 11:
      return grown(random, bytes, at, words)
    case 12:
      return replaced(bytes, at, 0, random.pick(words))
    default:
      return replaced(bytes, at, length, random.pick(words))
  }
}

function flipped(random: Random, bytes: Uint8Array, at: number): Uint8Array {
  const result = bytes.slice()
  if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << random.below(8))
  return result
}

/** An extreme, or a number near the input's length, in either byte order. */
function integer(random: Random, bytes: Uint8Array, width: 2 | 4): Uint8Array {
  const value = random.oneIn(3) ? bytes.length + random.below(9) - 4 : random.pick(NUMBERS)
  const result = new Uint8Array(4)
  const littleEndian = random.oneIn(2)
  new DataView(result.buffer).setUint32(0, value >>> 0, littleEndian)
  return littleEndian ? result.subarray(0, width) : result.subarray(4 - width)
}

/** If there is a length at this place, makes it and what it counts longer together. Big-endian, as the decoders' lengths are. */
function grown(random: Random, bytes: Uint8Array, at: number, words: readonly Uint8Array[]): Uint8Array {
  const width = random.pick([2, 4])
  const start = at + width
  if (start > bytes.length) return bytes
  const length = bytes.subarray(at, start).reduce((value, byte) => value * 256 + byte, 0)
  if (length > bytes.length - start) return bytes
  const more = words.length > 0 && random.oneIn(2) ? random.pick(words) : new Uint8Array(random.length(2000)).fill(0x61)
  const field = new Uint8Array(4)
  new DataView(field.buffer).setUint32(0, length + more.length)
  const longer = replaced(bytes, start + (random.oneIn(2) ? 0 : length), 0, more)
  longer.set(field.subarray(4 - width), at)
  return longer
}

function replaced(bytes: Uint8Array, at: number, length: number, by: Uint8Array): Uint8Array {
  const end = Math.min(at + length, bytes.length)
  const result = new Uint8Array(bytes.length - (end - at) + by.length)
  result.set(bytes.subarray(0, at))
  result.set(by, at)
  result.set(bytes.subarray(end), at + by.length)
  return result
}

function repeated(bytes: Uint8Array, times: number): Uint8Array {
  const result = new Uint8Array(bytes.length * times)
  for (let index = 0; index < times; index++) result.set(bytes, index * bytes.length)
  return result
}
