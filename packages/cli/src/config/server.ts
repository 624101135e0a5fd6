import type { Endpoint } from '@xoffload/core'
import type { ControlFiles } from './gateway.ts'
import type { Resolver } from './resolve.ts'
import type { ServerFile } from './server-schema.ts'

/** A server agent's configuration, checked and complete. */
export interface ServerConfig {
  /** The absolute path of the file. */
  readonly file: string
  readonly name: string
  readonly device: string
  readonly log: ServerFile['log']
  readonly control: ControlFiles & {
    readonly listen: Endpoint
    /** The names of the gateways that may connect. */
    readonly gateways: readonly string[]
  }
  /** What may be handed to this host, at least one. */
  readonly services: readonly Endpoint[]
  readonly application: {
    /** An absolute path. */
    readonly module: string
    readonly listen?: Endpoint
  }
  /** When connections leave this host without being asked to; `module` is an absolute path. */
  readonly moves: { readonly requests?: number; readonly module?: string }
  /** See `configReference('server')` for units. */
  readonly limits: Readonly<ServerFile['limits']>
}

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveServer(file: string, raw: ServerFile, resolver: Resolver): ServerConfig {
  const { control, application, moves } = raw
  const listen = resolver.endpoint(control.listen)
  const module = resolver.file('application.module', application.module)
  const applicationListen = application.listen === undefined ? undefined : resolver.endpoint(application.listen)
  const services = raw.services.map(({ address, port }) => resolver.addressAndPort(address, port))

  const gateways = control.gateways.map((name, index) => [`control.gateways[${index}]`, name] as const)
  resolver.unique('name', [['name', raw.name], ...gateways])
  resolver.uniqueEndpoints(
    'address and port',
    services.map((service, index) => [`services[${index}]`, service] as const),
  )
  if (applicationListen !== undefined) {
    resolver.uniqueEndpoints('address and port', [
      ['control.listen', listen],
      ['application.listen', applicationListen],
    ])
  }
  return {
    file,
    name: raw.name,
    device: raw.device,
    log: raw.log,
    control: {
      listen,
      ca: resolver.file('control.ca', control.ca),
      certificate: resolver.file('control.certificate', control.certificate),
      key: resolver.file('control.key', control.key),
      gateways: control.gateways,
    },
    services,
    application: applicationListen === undefined ? { module } : { module, listen: applicationListen },
    moves: {
      ...(moves.requests !== undefined && { requests: moves.requests }),
      ...(moves.module !== undefined && { module: resolver.file('moves.module', moves.module) }),
    },
    limits: raw.limits,
  }
}
