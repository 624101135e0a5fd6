import { type Static, Type } from '@sinclair/typebox'
import { resolveSocket, resolveUsers, socketFile, userNames } from './other-program.ts'
import type { Resolver } from './resolve.ts'

/** nginx in front of the gateway: it accepts clients, and offers their connections. */
export interface NginxConfig {
  /** An absolute path: where nginx's workers connect to. */
  readonly socket: string
  /** Users (uid) of nginx's workers besides root. */
  readonly users: readonly number[]
  /** Who chooses the server of a connection that nginx offers. */
  readonly selection: 'nginx' | 'gateway'
}

/** The section `nginx` of a gateway's configuration. */
export const nginxSchema = Type.Object(
  {
    socket: socketFile(
      "The socket that nginx's workers connect to (`xoffload_gateway` there), in a folder that only the gateway's user can write to and that theirs can enter. nginx listens on the service address then, and the gateway does not.",
    ),
    users: Type.Optional(userNames("The users of nginx's workers besides root, such as `www-data`.")),
    selection: Type.Union([Type.Literal('nginx'), Type.Literal('gateway')], {
      default: 'nginx',
      description:
        'Who chooses the server of a connection that nginx offers: the `upstream` block there, or the section `selection` here.',
    }),
  },
  {
    additionalProperties: false,
    description: 'nginx, with the module of `@xoffload/proxy-adapters`, accepts clients.',
  },
)

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveNginx(raw: Static<typeof nginxSchema>, resolver: Resolver): NginxConfig {
  return {
    socket: resolveSocket('nginx.socket', raw.socket, resolver),
    users: resolveUsers('nginx.users', raw.users ?? [], resolver),
    selection: raw.selection,
  }
}
