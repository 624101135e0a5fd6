import { type Static, Type } from '@sinclair/typebox'
import type { Endpoint } from '@xoffload/core'
import { resolveSocket, resolveUsers, socketFile, userNames } from './other-program.ts'
import type { Resolver } from './resolve.ts'
import { listen } from './schema.ts'

/** A server program of its own that takes connections: by a library that is loaded before it, or nginx by its module. */
export interface ServerProgramConfig {
  /** The section of the configuration that names it. */
  readonly adapter: 'preload' | 'nginx'
  /** An absolute path: where the program's processes connect to. */
  readonly socket: string
  /** Where the program listens; only with `preload`. */
  readonly listener?: Endpoint
  /** Users (uid) of the program's processes besides root. */
  readonly users: readonly number[]
}

/** The section `application.preload` of a server's configuration. */
export const preloadSchema = Type.Object(
  {
    socket: socketFile(
      "The socket that the program's processes connect to, as `xoffload preload` tells them, in a folder that only the agent's user can write to and that theirs can enter.",
    ),
    listener: listen('Where the program listens on this host.'),
    users: Type.Optional(userNames("The users of the program's processes besides root, such as `www-data`.")),
  },
  {
    additionalProperties: false,
    description: 'nginx or another program as the application, with the library that `xoffload preload` names.',
  },
)

/** The section `application.nginx` of a server's configuration. */
export const nginxSchema = Type.Object(
  {
    socket: socketFile(
      "The socket that `xoffload_adopt` in nginx's configuration names, in a folder that only the agent's user can write to and that nginx's can enter.",
    ),
    users: Type.Optional(userNames("The users of nginx's workers besides root, such as `www-data`.")),
  },
  { additionalProperties: false, description: 'nginx as the application, with the module `xoffload`.' },
)

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolvePreload(raw: Static<typeof preloadSchema>, resolver: Resolver): ServerProgramConfig {
  return { ...resolveProgram('preload', raw, resolver), listener: resolver.endpoint(raw.listener) }
}

/** The same of `application.nginx`. */
export function resolveNginx(raw: Static<typeof nginxSchema>, resolver: Resolver): ServerProgramConfig {
  return resolveProgram('nginx', raw, resolver)
}

function resolveProgram(
  adapter: ServerProgramConfig['adapter'],
  { socket, users = [] }: Static<typeof nginxSchema>,
  resolver: Resolver,
): ServerProgramConfig {
  return {
    adapter,
    socket: resolveSocket(`application.${adapter}.socket`, socket, resolver),
    users: resolveUsers(`application.${adapter}.users`, users, resolver),
  }
}
