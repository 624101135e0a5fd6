import { type Static, Type } from '@sinclair/typebox'
import { DEFAULT_HYBRID_POLICY, type HybridPolicy } from '@xoffload/core'
import type { Resolver } from './resolve.ts'
import { count, device } from './schema.ts'

/** Keys of `HybridPolicy` that a configuration file has. */
const policyKeys = ['minimumBytes', 'minimumAge', 'minimumPacketsPerSecond', 'idle'] as const

/** Redirectors that hold packets, so that they can be alone, and those that need one of these underneath. */
const softwareTypes = ['tc', 'xdp'] as const
const hardwareTypes = ['cx-flower', 'agilio', 'flower'] as const

type SoftwareType = (typeof softwareTypes)[number]
export type HardwareType = (typeof hardwareTypes)[number]

/** The redirector that steers, in addition, the flows that are worth it. */
export interface HardwareConfig {
  readonly type: HardwareType
  /** The device that steered packets leave by; absent: the gateway's. */
  readonly output?: string
  /** The VLAN of the clients' packets; absent: they have no tag. */
  readonly vlan?: number
  /** A VXLAN device with external control. */
  readonly tunnel?: string
  /** The most flows that have a rule there; absent: as many as there is room for. */
  readonly flows?: number
  /** Which flows are worth it. */
  readonly policy: Pick<HybridPolicy, (typeof policyKeys)[number]>
}

/** What steers the flows of a gateway. */
export interface RedirectorConfig {
  readonly type: SoftwareType
  /** With type `xdp`. */
  readonly mode?: 'auto' | 'driver' | 'generic'
  readonly hardware?: HardwareConfig
}

const closed = { additionalProperties: false } as const
const literals = <const Word extends string>(...words: Word[]) => words.map((word) => Type.Literal(word))
const policy = (key: (typeof policyKeys)[number], description: string, minimum: number, maximum: number) =>
  count(description, minimum, maximum, DEFAULT_HYBRID_POLICY[key])

const hardwareSchema = Type.Object(
  {
    type: Type.Union(literals(...hardwareTypes), {
      description:
        'What has the rules: a ConnectX-5, -6 or -7 (`cx-flower`), an Agilio with the flower firmware, or the kernel (`flower`, for trials).',
    }),
    output: Type.Optional(device('The device that steered packets leave by. Without it that of the gateway.')),
    vlan: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 4095,
        description: "The VLAN of the clients' packets. Without it they have no tag.",
      }),
    ),
    tunnel: Type.Optional(
      device('A VXLAN device (`ip link add NAME type vxlan external dstport 4789`), for servers behind a tunnel.'),
    ),
    flows: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 67_108_864,
        description: 'The most flows with a rule in hardware. Without it as many as there is room for.',
      }),
    ),
    minimumBytes: policy(
      'minimumBytes',
      'A flow gets a rule in hardware when its client has sent so many bytes (of a download, the acknowledgements), ...',
      0,
      1_099_511_627_776,
    ),
    minimumAge: policy('minimumAge', '... has been steered for so long, milliseconds, ...', 0, 86_400_000),
    minimumPacketsPerSecond: policy(
      'minimumPacketsPerSecond',
      '... and has sent so many packets a second meanwhile.',
      0,
      100_000_000,
    ),
    idle: policy('idle', 'A flow without a packet for so long loses that rule, milliseconds.', 1, 86_400_000),
  },
  {
    ...closed,
    description:
      'A NIC that steers the flows which are worth it. Without the table `hardware` all is done in software.',
  },
)

/** The section `redirector` of a gateway's configuration. */
export const redirectorSchema = Type.Object(
  {
    // Those for hardware are refused with a reason: see resolveRedirector.
    type: Type.Union(literals(...softwareTypes, ...hardwareTypes), {
      default: 'tc',
      expected: '"tc" or "xdp"',
      description: 'What steers all flows: eBPF programs at tc, or with an XDP program in front of them.',
    }),
    mode: Type.Optional(
      Type.Union(literals('auto', 'driver', 'generic'), {
        description:
          'Of XDP: in the driver (`driver`), on any device (`generic`, no faster than tc), or what is right for the device (`auto`, which it is without this key).',
      }),
    ),
    hardware: Type.Optional(hardwareSchema),
  },
  { ...closed, default: {}, description: "What steers the clients' packets." },
)

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveRedirector(raw: Static<typeof redirectorSchema>, resolver: Resolver): RedirectorConfig {
  const type = resolveType(raw, resolver)
  if (raw.mode !== undefined && type !== 'xdp') {
    resolver.problem('redirector.mode', `has a meaning only with type "xdp", found type "${raw.type}"`)
  }
  const { hardware } = raw
  if (hardware?.type === 'flower' && type === 'xdp') {
    resolver.problem(
      'redirector.hardware.type',
      'expected "cx-flower" or "agilio" with type "xdp", found "flower", which runs in the kernel behind XDP and would see no packets: use it with type "tc"',
    )
  }
  return {
    type,
    ...(type === 'xdp' && { mode: raw.mode ?? 'auto' }),
    ...(hardware !== undefined && { hardware: resolveHardware(hardware) }),
  }
}

function resolveType({ type }: Static<typeof redirectorSchema>, resolver: Resolver): SoftwareType {
  if (type === 'tc' || type === 'xdp') return type
  resolver.problem(
    'redirector.type',
    `expected "tc" or "xdp", found "${type}", which cannot hold packets while a connection moves: combine it with one of them, as redirector.hardware.type = "${type}"`,
  )
  return 'tc'
}

function resolveHardware(raw: Static<typeof hardwareSchema>): HardwareConfig {
  const { minimumBytes, minimumAge, minimumPacketsPerSecond, idle, ...rest } = raw
  return { ...rest, policy: { minimumBytes, minimumAge, minimumPacketsPerSecond, idle } }
}
