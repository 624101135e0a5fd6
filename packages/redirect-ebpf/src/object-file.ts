import { readFileSync } from 'node:fs'

/** A compiled object of this package. */
export function readObject(name: 'tc.o' | 'xdp.o'): Uint8Array {
  return readFileSync(new URL(`../bpf/${name}`, import.meta.url))
}
