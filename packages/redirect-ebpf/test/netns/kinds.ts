import { type EbpfRedirectorOptions, TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'

/** A redirector of this package, as the tests of all of them see it. */
export interface Kind {
  readonly name: string
  /**
   * For {@link TestNetwork}: it needs the driver. There are no large segments then, so a stream takes all the processor's time: gaps in it
   * tell nothing.
   */
  readonly driver: boolean
  create(options?: Partial<EbpfRedirectorOptions>): TcRedirector | XdpRedirector
}

/** What each is made with. A map with room for the default of a million flows takes as long to make as all the programs take to load. */
export const basis = { device: 'eth0', capacity: 1 << 16 }

/** All of them. */
export const kinds: readonly [name: string, kind: Kind][] = (
  [
    { name: 'tc', driver: false, create: (options) => new TcRedirector({ ...basis, ...options }) },
    {
      name: 'xdp',
      driver: true,
      create: (options) => new XdpRedirector({ ...basis, mode: 'driver', ...options }),
    },
    {
      name: 'generic xdp',
      driver: false,
      create: (options) => new XdpRedirector({ ...basis, mode: 'generic', ...options }),
    },
  ] satisfies Kind[]
).map((kind) => [kind.name, kind])

/** The one with this name. */
export function kindOf(name: string): Kind {
  const found = kinds.find(([known]) => known === name)
  if (found === undefined) throw new Error(`there is no redirector "${name}"`)
  return found[1]
}
