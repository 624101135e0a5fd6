/** Bytes of which no two blocks are the same. */
export function pattern(bytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index + 1, 0x9e3779b1)
  return new Uint8Array(words.buffer, 0, bytes)
}
