// The redirectors that use flower, alone and under software that steers what they have no rule for, and how the virtual NIC plays their card.
import { HybridRedirector, type Redirector } from '@xoffload/core'
import type { RedirectorRequest } from '@xoffload/core/conformance'
import { AgilioRedirector } from '@xoffload/redirect-agilio'
import { TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import {
  type FlowerRedirector,
  type FlowerRedirectorOptions,
  SoftwareFlowerRedirector,
} from '@xoffload/redirect-flower'
import { CxFlowerRedirector } from '@xoffload/redirect-flower-cx'
import { systemClock } from 'xoffload'
import type { NicKnobs } from '../../../src/guest/index.ts'

export interface FlowerKind {
  readonly name: string
  readonly knobs: NicKnobs
  readonly create: (options: FlowerRedirectorOptions & RedirectorRequest) => FlowerRedirector
}

export const flowerKinds: readonly FlowerKind[] = [
  { name: 'flower', knobs: {}, create: (options) => new SoftwareFlowerRedirector(options) },
  {
    name: 'cx-flower',
    knobs: { driver: 'mlx5_core', firmware: '28.39.1002 (MT_0000000838)' },
    create: (options) => new CxFlowerRedirector(options),
  },
  {
    name: 'agilio',
    knobs: { driver: 'nfp', firmware: '0.0.5.5 0.31 flo-2.0 flower', csum_required: true },
    create: (options) => new AgilioRedirector(options),
  },
]

export interface HybridKind {
  readonly name: string
  readonly knobs: NicKnobs
  readonly create: (options: { readonly device: string } & RedirectorRequest) => Redirector
}

/** A map with room for the default of a million flows takes long to make on an emulated processor, and to list. */
const CAPACITY = 1 << 14

const software = {
  tc: (options: { readonly device: string }) => new TcRedirector({ capacity: CAPACITY, ...options }),
  xdp: (options: { readonly device: string }) => new XdpRedirector({ capacity: CAPACITY, ...options, mode: 'generic' }),
}

/** Each card under each software redirector. Every rule goes into the card that may. */
export const hybridKinds: readonly HybridKind[] = flowerKinds
  .filter(({ name }) => name !== 'flower')
  .flatMap((card) =>
    Object.entries(software).map(([name, make]) => ({
      name: `${name} + ${card.name}`,
      knobs: card.knobs,
      create: ({ device, ...request }: { readonly device: string } & RedirectorRequest) =>
        new HybridRedirector({
          software: make({ device, ...request }),
          // Before the software's priority.
          hardware: card.create({ device, priority: 60 }),
          clock: systemClock,
          policy: { expectedBytes: 0 },
          queue: { removal: 60_000 },
        }),
    })),
  )
