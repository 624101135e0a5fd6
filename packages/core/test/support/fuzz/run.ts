import { allocatedBytes, countAllocations } from './allocations.ts'
import { hashOf, Random } from './random.ts'
import type { FuzzTarget } from './target.ts'

/** So many inputs one after the other are made of the same valid encodings. */
const BLOCK = 4096

/** A longer check is a hang, in milliseconds; garbage collection and a busy machine take some of it. */
const TIME_LIMIT = 2_000

/** What one check may allocate: so many bytes, and so many for each byte of input. A check decodes and encodes many times over. */
const ALLOCATION_LIMIT = 1024 * 1024
const ALLOCATION_FACTOR = 1024

/** What goes around an input: a decoder that reads beyond it does not find zeros there. */
const MARGIN = 61
const MARGIN_BYTE = 0xa5

/** An input that a decoder does not stand. The message has all that is needed to see it again. */
export class FuzzFailure extends Error {
  readonly target: string
  readonly input: Uint8Array

  constructor(target: string, input: Uint8Array, place: string, options?: ErrorOptions) {
    const hex = input.toHex()
    const reason = options?.cause instanceof Error ? (options.cause.stack ?? options.cause.message) : ''
    super(
      `fuzzing ${target}: ${place}, an input of ${input.length} bytes: ${reason}\n` +
        `again: bun testbed/src/soak/fuzz-program.ts replay ${target} ${hex === '' ? '""' : hex}`,
      options,
    )
    this.name = 'FuzzFailure'
    this.target = target
    this.input = input
  }
}

export interface FuzzOptions {
  /** A u32: the same inputs for the same seed. */
  readonly seed: number
  /** The number of the first input, default 0. */
  readonly first?: number
  readonly count: number
  /** From one input's number to the next, default 1. */
  readonly step?: number
  /** Called before each check with the input's number. */
  readonly onInput?: (index: number) => void
}

/** What a target with a share of 1 gets in the tests: 100,000 inputs for all targets of all packages together. */
const TEST_INPUTS = 8_500

/** Feeds a target as much as a test may. Throws {@link FuzzFailure}. */
export function fuzzInTest(target: FuzzTarget): void {
  fuzz(target, { seed: 1, count: Math.ceil(TEST_INPUTS * (target.share ?? 1)) })
}

/** The input with this number. */
export function fuzzInput(target: FuzzTarget, seed: number, index: number): Uint8Array {
  const block = Math.floor(index / BLOCK)
  const name = hashOf(target.name)
  return target.generate(new Random([seed, name, index], new Random([seed, name, block]).u32()))
}

/** Feeds a target. Throws {@link FuzzFailure} for the first input that it does not stand, made smaller where that is possible. */
export function fuzz(target: FuzzTarget, { seed, first = 0, count, step = 1, onInput }: FuzzOptions): void {
  using _counting = countAllocations()
  for (let number = 0; number < count; number++) {
    const index = first + number * step
    const input = fuzzInput(target, seed, index)
    onInput?.(index)
    const cause = problemWith(target, input)
    if (cause === undefined) continue
    const smaller = smallest(target, input)
    throw new FuzzFailure(target.name, smaller, `seed ${seed}, input ${index}`, {
      cause: problemWith(target, smaller) ?? cause,
    })
  }
}

/** Feeds one input again. Throws {@link FuzzFailure}. */
export function replay(target: FuzzTarget, input: Uint8Array): void {
  using _counting = countAllocations()
  const cause = problemWith(target, input)
  if (cause !== undefined) throw new FuzzFailure(target.name, input, 'replayed', { cause })
}

/** Why the target does not stand the input, undefined when it does. */
function problemWith(target: FuzzTarget, input: Uint8Array): Error | undefined {
  const surrounded = new Uint8Array(MARGIN + input.length + MARGIN).fill(MARGIN_BYTE)
  surrounded.set(input, MARGIN)
  const allocated = allocatedBytes()
  const started = performance.now()
  try {
    target.check(surrounded.subarray(MARGIN, MARGIN + input.length))
  } catch (error) {
    return error instanceof Error ? error : new Error(`thrown: ${error}`)
  }
  const milliseconds = performance.now() - started
  if (milliseconds > TIME_LIMIT) return new Error(`took ${milliseconds.toFixed()} ms`)
  const bytes = allocatedBytes() - allocated
  if (bytes > ALLOCATION_LIMIT + ALLOCATION_FACTOR * input.length) return new Error(`allocated ${bytes} bytes`)
  return undefined
}

/** How often a failing input is made smaller at most. */
const SHRINK_LIMIT = 500

/** Takes pieces out of a failing input for as long as it fails. */
function smallest(target: FuzzTarget, input: Uint8Array): Uint8Array {
  let best = input
  let attempts = 0
  for (let length = best.length >> 1; length >= 1; length >>= 1) {
    for (let at = 0; at + length <= best.length && attempts < SHRINK_LIMIT; attempts++) {
      const candidate = new Uint8Array(best.length - length)
      candidate.set(best.subarray(0, at))
      candidate.set(best.subarray(at + length), at)
      if (problemWith(target, candidate) === undefined) at += length
      else best = candidate
    }
  }
  return best
}
