import { dirname, resolve } from 'node:path'
import { FormatRegistry, type Static, Type } from '@sinclair/typebox'
import type { Endpoint } from '@xoffload/core'
import { parseEndpoint } from './endpoint.ts'
import type { Resolver } from './resolve.ts'
import { file } from './schema.ts'

/**
 * The longest path of a socket, bytes: `sun_path` has 108 (unix(7)), of which one is for the zero at the end, and the socket is made
 * under a name that may be 8 longer.
 */
const longestSocketPath = 99

/** Where the control API is served: on a unix socket that only its owner can use, or on a loopback address to those with a token. */
export type ApiConfig =
  | {
      /** An absolute path. */
      readonly socket: string
    }
  | {
      /** A loopback address: what is said there is not encrypted. */
      readonly listen: Endpoint
      /** The absolute path of the file with the token. */
      readonly token: string
    }

const expected =
  '"unix:" and the path of a socket, or a loopback address and a port, such as "unix:/run/xoffload/gateway.sock" or "127.0.0.1:7901"'

FormatRegistry.Set('xoffload-api', (text) => socketPath(text) !== undefined || parseEndpoint(text) !== undefined)

/** The section `api` of a gateway's configuration. */
export const apiSchema = Type.Object(
  {
    listen: Type.String({
      format: 'xoffload-api',
      expected,
      description: 'Where the control API is served. Without the table `api` there is none.',
    }),
    token: Type.Optional(
      file(
        'A file with the token that callers must show when `listen` is an address: at least 16 characters, mode 0640 or less.',
      ),
    ),
  },
  { additionalProperties: false, description: 'The control API, for operators and monitoring.' },
)

/** Whether only processes of this host can connect to the address: 127.0.0.0/8 (RFC 1122 section 3.2.1.3) or ::1. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address)
}

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveApi(configFile: string, raw: Static<typeof apiSchema>, resolver: Resolver): ApiConfig {
  const path = socketPath(raw.listen)
  if (path !== undefined) return resolveSocket(resolve(dirname(configFile), path), raw, resolver)
  const listen = resolver.endpoint(raw.listen)
  if (!isLoopback(listen.address)) {
    resolver.problem(
      'api.listen',
      `expected an address of the loopback device (127.0.0.1 or [::1]), because the API is not encrypted, found ${JSON.stringify(raw.listen)}`,
    )
  }
  if (raw.token === undefined) {
    resolver.problem('api.token', 'is missing: expected the path of a file with a token when `listen` is an address')
    return { listen, token: '' }
  }
  return { listen, token: resolver.file('api.token', raw.token) }
}

function resolveSocket(socket: string, raw: Static<typeof apiSchema>, resolver: Resolver): ApiConfig {
  const bytes = Buffer.byteLength(socket)
  if (bytes > longestSocketPath) {
    resolver.problem('api.listen', `expected a path of at most ${longestSocketPath} bytes, found one of ${bytes}`)
  }
  if (raw.token !== undefined) {
    resolver.problem(
      'api.token',
      `has a meaning only when \`listen\` is an address, found ${JSON.stringify(raw.listen)}: only the owner of a socket can use it`,
    )
  }
  return { socket }
}

/** The path in `unix:PATH`, undefined for anything else. */
export function socketPath(text: string): string | undefined {
  return /^unix:([^\0]+)$/.exec(text)?.[1]
}
