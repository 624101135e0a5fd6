/** Both in one; they are overwritten, so that no copy of what a client said is left (invariant 9). */
export function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = Buffer.concat([first, second])
  first.fill(0)
  second.fill(0)
  return both
}
