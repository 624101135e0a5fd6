import { readFileSync } from 'node:fs'
import { type Static, Type } from '@sinclair/typebox'
import type { Endpoint } from '@xoffload/core'
import type { Resolver } from './resolve.ts'
import { listen } from './schema.ts'

/** The longest path of a socket, bytes: `sun_path` has 108 (unix(7)), of which one is for the zero at the end. */
const longestSocketPath = 107
/** Accounts of this host, one a line (passwd(5)). */
const ACCOUNTS = '/etc/passwd'
const expectedUser = 'the name of a user in /etc/passwd, or a number'

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
    socket: Type.String({
      minLength: 1,
      expected: 'the path of a socket',
      description:
        "The socket that the program's processes connect to, as `xoffload preload` tells them, in a folder that only the agent's user can write to and that theirs can enter.",
    }),
    listener: listen('Where the program listens on this host.'),
    users: Type.Optional(
      Type.Array(Type.String({ minLength: 1, expected: expectedUser }), {
        description: "The users of the program's processes besides root, such as `www-data`.",
      }),
    ),
  },
  {
    additionalProperties: false,
    description: 'nginx or another program as the application, with the library that `xoffload preload` names.',
  },
)

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolvePreload(raw: Static<typeof preloadSchema>, resolver: Resolver): ServerProgramConfig {
  const socket = resolver.path(raw.socket)
  const bytes = Buffer.byteLength(socket)
  if (bytes > longestSocketPath) {
    resolver.problem(
      'application.preload.socket',
      `expected a path of at most ${longestSocketPath} bytes, found one of ${bytes}`,
    )
  }
  const users = (raw.users ?? []).map((user, index) => {
    const uid = uidOf(user)
    if (uid === undefined) {
      const found = JSON.stringify(user)
      resolver.problem(`application.preload.users[${index}]`, `expected ${expectedUser}, found ${found}`)
    }
    return uid ?? -1
  })
  return { socket, listener: resolver.endpoint(raw.listener), users }
}

function uidOf(user: string): number | undefined {
  if (/^[0-9]{1,10}$/.test(user)) return Number(user)
  const accounts = readFileSync(ACCOUNTS, 'utf8').split('\n')
  const [, , uid] = accounts.map((line) => line.split(':')).find(([name]) => name === user) ?? []
  return uid === undefined ? undefined : Number(uid)
}
