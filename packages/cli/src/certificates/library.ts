interface MetadataReflection {
  getMetadata(key: unknown, target: object): unknown
  getOwnMetadata(key: unknown, target: object): unknown
  defineMetadata(key: unknown, value: unknown, target: object): void
}

const store = new WeakMap<object, Map<unknown, unknown>>()

const reflection: MetadataReflection = {
  getMetadata(key, target) {
    for (let object: object | null = target; object !== null; object = Object.getPrototypeOf(object) as object | null) {
      const metadata = store.get(object)
      if (metadata?.has(key)) return metadata.get(key)
    }
    return undefined
  },
  getOwnMetadata(key, target) {
    return store.get(target)?.get(key)
  },
  defineMetadata(key, value, target) {
    const metadata = store.get(target) ?? new Map<unknown, unknown>()
    store.set(target, metadata.set(key, value))
  },
}

/**
 * Loads @peculiar/x509. It uses the injection container tsyringe, which refuses to load without three functions of the
 * `reflect-metadata` proposal: they are here, so that no package is needed for them, and one that is already loaded stays in
 * place. A dynamic import, because Bun evaluates a CommonJS package before the modules that a static import names first.
 */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  if (!('getMetadata' in Reflect)) Object.assign(Reflect, reflection)
  const library = await import('@peculiar/x509')
  library.cryptoProvider.set(crypto)
  return library
}
