/**
 * Frames between the host and the guest's first process (`init/`): type, id and length of the payload, each a 32-bit number,
 * little-endian, and then the payload.
 */
export interface Frame {
  readonly type: number
  /** Which command it is about; 0 for none. */
  readonly id: number
  readonly payload: Uint8Array
}

/** Types of frames, as in `init/`. */
export const frameType = {
  setUp: 1,
  run: 2,
  kill: 3,
  ready: 16,
  mounted: 17,
  stdout: 18,
  stderr: 19,
  exit: 20,
} as const

/** No payload is longer, in bytes (`MAX_PAYLOAD`). */
export const maxPayload = 1 << 20
/** Words of a command, and variables of its environment, are fewer (`MAX_STRINGS`). */
export const maxStrings = 4096

const headerLength = 12

export function encodeFrame({ type, id, payload }: Frame): Uint8Array {
  if (payload.length > maxPayload) throw new RangeError(`A frame of ${payload.length} bytes is too long for the guest`)
  const bytes = new Uint8Array(headerLength + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, id, true)
  view.setUint32(8, payload.length, true)
  bytes.set(payload, headerLength)
  return bytes
}

/** Returns a function that takes bytes as they come, and returns the frames that are complete. Throws RangeError for a frame that is too long. */
export function frameDecoder(): (bytes: Uint8Array) => Frame[] {
  let rest = new Uint8Array()
  return (bytes) => {
    const frames: Frame[] = []
    const all = new Uint8Array(rest.length + bytes.length)
    all.set(rest)
    all.set(bytes, rest.length)
    const view = new DataView(all.buffer)
    let start = 0
    while (all.length - start >= headerLength) {
      const length = view.getUint32(start + 8, true)
      if (length > maxPayload) throw new RangeError(`The guest announces a frame of ${length} bytes`)
      const end = start + headerLength + length
      if (end > all.length) break
      frames.push({
        type: view.getUint32(start, true),
        id: view.getUint32(start + 4, true),
        payload: all.subarray(start + headerLength, end),
      })
      start = end
    }
    rest = all.slice(start)
    return frames
  }
}

/** The payload of a `run` frame. Throws RangeError for words that the guest cannot take. */
export function encodeCommand(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  directory: string,
): Uint8Array {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  for (const strings of [command, variables]) {
    if (strings.length >= maxStrings)
      throw new RangeError(`A guest's command has at most ${maxStrings} words or variables`)
    if (strings.some((text) => text.includes('\0'))) throw new RangeError('A word of a command has a zero byte')
  }
  // An empty string ends a list, and a word may be empty: each word has a mark in front.
  const words = command.map((word) => `:${word}`)
  return new TextEncoder().encode([directory, ...variables, '', ...words, '', ''].join('\0'))
}

/** The payload of the `setUp` frame: the time of day, random bytes, and the paths of the share and of the kernel's modules. */
export function encodeSetUp(share: string, modules: string): Uint8Array {
  const paths = new TextEncoder().encode(`${share}\0${modules}\0`)
  const payload = new Uint8Array(80 + paths.length)
  const view = new DataView(payload.buffer)
  const now = Date.now()
  view.setBigUint64(0, BigInt(Math.floor(now / 1000)), true)
  view.setBigUint64(8, BigInt((now % 1000) * 1_000_000), true)
  crypto.getRandomValues(payload.subarray(16, 80))
  payload.set(paths, 80)
  return payload
}
