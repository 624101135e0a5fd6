const counted = ['Uint8Array', 'ArrayBuffer', 'Array'] as const

/** An array of this length is a hole and no memory; below, it is eight bytes an entry. */
const BYTES_PER_ENTRY = 8

let allocated = 0

/** Bytes that were asked for by a length, in arrays and buffers, since {@link countAllocations}; garbage too. */
export function allocatedBytes(): number {
  return allocated
}

/**
 * Counts what is allocated by `new Uint8Array(length)` and the like for as long as the result is not disposed of. This is how a
 * decoder that believes a length is caught at once: the memory of a large array that is never written to shows up nowhere else.
 */
export function countAllocations(): Disposable {
  const globals = globalThis as unknown as Record<string, unknown>
  const originals = counted.map((name) => [name, globals[name]] as const)
  for (const [name, original] of originals)
    globals[name] = counting(name, original as new (...args: unknown[]) => object)
  return {
    [Symbol.dispose]() {
      for (const [name, original] of originals) globals[name] = original
    },
  }
}

function counting(name: string, original: new (...args: unknown[]) => object): unknown {
  const width = name === 'Array' ? BYTES_PER_ENTRY : 1
  const count = (length: unknown): void => {
    if (typeof length === 'number') allocated += length * width
    else if (Array.isArray(length)) allocated += length.length * width
  }
  const proxy: unknown = new Proxy(original, {
    construct(target, args, newTarget) {
      count(args[0])
      return Reflect.construct(target, args, newTarget === proxy ? target : newTarget)
    },
    // Array is also called without `new`.
    apply(target, self, args) {
      count(args[0])
      return Reflect.apply(target as unknown as (...args: unknown[]) => unknown, self, args)
    },
  })
  return proxy
}
