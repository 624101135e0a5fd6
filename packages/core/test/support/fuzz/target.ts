import type { Random } from './random.ts'

/** One decoder, what to feed it with, and what must hold whatever it is fed. */
export interface FuzzTarget {
  /** Lower-case words with hyphens. */
  readonly name: string
  /** How many inputs it gets compared with others, default 1: less for what is slow. */
  readonly share?: number
  /** The next input. It follows from the random numbers alone. */
  generate(random: Random): Uint8Array
  /** Feeds the decoder. Throws any error when something does not hold. The input's buffer has other bytes around the input. */
  check(input: Uint8Array): void
}

/** What a call returns, or the error with which it refuses; any other error is thrown on. */
export function resultOrRefusal<Result, Refusal extends Error>(
  call: () => Result,
  refusal: abstract new (...args: never[]) => Refusal,
): Result | Refusal {
  try {
    return call()
  } catch (error) {
    if (error instanceof refusal) return error
    throw error
  }
}

/** Throws unless it holds. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what)
}

export function mustEqualBytes(one: Uint8Array, other: Uint8Array, what: string): void {
  must(one.length === other.length, `${what}: ${one.length} bytes and ${other.length} bytes`)
  for (let index = 0; index < one.length; index++) must(one[index] === other[index], `${what}: byte ${index} differs`)
}

/** Valid encodings that are made anew for every block of inputs. */
export function corpusOf(make: (seed: number) => readonly Uint8Array[]): (random: Random) => readonly Uint8Array[] {
  let known: { readonly block: number; readonly entries: readonly Uint8Array[] } | undefined
  return ({ block }) => {
    if (known?.block !== block) known = { block, entries: make(block) }
    return known.entries
  }
}

/** Cuts bytes into pieces in a way that follows from `random`; often into single bytes. */
export function pieces(bytes: Uint8Array, random: Random): Uint8Array[] {
  const result: Uint8Array[] = []
  const longest = random.oneIn(3) ? 1 : 1 + random.length(100)
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random.below(longest)
    result.push(bytes.subarray(at, at + length))
    at += length
  }
  return result
}
