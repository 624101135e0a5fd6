import { type Static, Type } from '@sinclair/typebox'
import type { Endpoint } from '@xoffload/core'
import { resolveSocket, resolveUsers, socketFile, userNames } from './other-program.ts'
import type { Resolver } from './resolve.ts'
import { listen } from './schema.ts'

/** A server program that was not written for this, and takes connections by a library that is loaded before it. */
export interface ServerProgramConfig {
  /** An absolute path: where the program's processes connect to. */
  readonly socket: string
  /** Where the program listens. */
  readonly listener: Endpoint
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

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolvePreload(raw: Static<typeof preloadSchema>, resolver: Resolver): ServerProgramConfig {
  return {
    socket: resolveSocket('application.preload.socket', raw.socket, resolver),
    listener: resolver.endpoint(raw.listener),
    users: resolveUsers('application.preload.users', raw.users ?? [], resolver),
  }
}
