// The redirectors that use flower, and how the virtual NIC plays their card.
import type { RedirectorRequest } from '@xoffload/core/conformance'
import { AgilioRedirector } from '@xoffload/redirect-agilio'
import {
  type FlowerRedirector,
  type FlowerRedirectorOptions,
  SoftwareFlowerRedirector,
} from '@xoffload/redirect-flower'
import { CxFlowerRedirector } from '@xoffload/redirect-flower-cx'
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
