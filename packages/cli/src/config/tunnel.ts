import { type Static, Type } from '@sinclair/typebox'
import type { TunnelDeviceOptions } from '@xoffload/linux'
import { endpointOf } from './endpoint.ts'
import type { Resolver } from './resolve.ts'
import { address, device } from './schema.ts'

/** How packets are carried to a server in another subnet. */
export const tunnelModes = ['vxlan', 'ipip'] as const

/** What a tunnel puts before a packet, at most: IPv6, UDP, VXLAN and Ethernet headers, or IPv6 alone; bytes. */
export const tunnelOverhead: Readonly<Record<(typeof tunnelModes)[number], number>> = {
  vxlan: 40 + 8 + 8 + 14,
  ipip: 40,
}

const DEFAULT_NAME = 'xoffload0'
const DEFAULT_IDENTIFIER = 1
/** RFC 7348 section 5. */
const DEFAULT_PORT = 4789

/** The section `tunnel` of a server's configuration. */
export const tunnelSchema = Type.Object(
  {
    mode: Type.Union([Type.Literal('vxlan'), Type.Literal('ipip')], {
      description: "How the gateways send the clients' packets here: as Ethernet in UDP (RFC 7348), or as IP in IP.",
    }),
    address: address('The address of this host that the tunnel leads to.'),
    device: Type.String({
      ...device(
        'The name of the tunnel device, which the agent makes and removes. Packets to clients leave by the other `device`.',
      ),
      default: DEFAULT_NAME,
    }),
    identifier: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 16_777_215, description: 'With `vxlan`: the network identifier, else 1.' }),
    ),
    port: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 65_535, description: 'With `vxlan`: the UDP port, else 4789.' }),
    ),
  },
  {
    additionalProperties: false,
    description: 'The way to this host when it is in another subnet than the gateways. Without the table it is not.',
  },
)
/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveTunnel(
  { mode, address, device, identifier, port }: Static<typeof tunnelSchema>,
  resolver: Resolver,
): TunnelDeviceOptions {
  // In its usual form: it is compared as a text.
  const local = endpointOf(address, 1)?.address ?? address
  if (mode === 'vxlan') {
    return { mode, name: device, local, identifier: identifier ?? DEFAULT_IDENTIFIER, port: port ?? DEFAULT_PORT }
  }
  for (const [key, value] of Object.entries({ identifier, port })) {
    if (value !== undefined)
      resolver.problem(`tunnel.${key}`, `has a meaning only with mode "vxlan", found mode "${mode}"`)
  }
  return { mode, name: device, local }
}
