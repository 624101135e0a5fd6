import type { Endpoint } from '@xoffload/core'
import type { TunnelDeviceOptions } from '@xoffload/linux'
import type { ControlFiles } from './gateway.ts'
import type { Resolver } from './resolve.ts'
import { resolveNginx, resolvePreload, type ServerProgramConfig } from './server-program.ts'
import type { ServerFile } from './server-schema.ts'
import { resolveTunnel } from './tunnel.ts'

/** What answers requests: a module, or a program that was not written for this. */
export type ApplicationConfig =
  | {
      /** An absolute path. */
      readonly module: string
      readonly listen?: Endpoint
      readonly program?: undefined
    }
  | { readonly module?: undefined; readonly listen?: undefined; readonly program: ServerProgramConfig }

/** A server agent's configuration, checked and complete. */
export interface ServerConfig {
  /** The absolute path of the file. */
  readonly file: string
  readonly name: string
  readonly device: string
  readonly log: ServerFile['log']
  /** The way to this host when it is in another subnet; absent when it is not. */
  readonly tunnel?: TunnelDeviceOptions
  readonly control: ControlFiles & {
    readonly listen: Endpoint
    /** The names of the gateways that may connect. */
    readonly gateways: readonly string[]
  }
  /** What may be handed to this host, at least one. */
  readonly services: readonly Endpoint[]
  readonly application: ApplicationConfig
  /** When connections leave this host without being asked to; `module` is an absolute path. */
  readonly moves: { readonly requests?: number; readonly module?: string }
  /** See `configReference('server')` for units. */
  readonly limits: Readonly<ServerFile['limits']>
}

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveServer(file: string, raw: ServerFile, resolver: Resolver): ServerConfig {
  const { control, moves } = raw
  const listen = resolver.endpoint(control.listen)
  const application = resolveApplication(raw.application, resolver)
  if (raw.tunnel !== undefined)
    resolver.unique('device', [
      ['device', raw.device],
      ['tunnel.device', raw.tunnel.device],
    ])
  const services = raw.services.map(({ address, port }) => resolver.addressAndPort(address, port))

  const gateways = control.gateways.map((name, index) => [`control.gateways[${index}]`, name] as const)
  resolver.unique('name', [['name', raw.name], ...gateways])
  resolver.uniqueEndpoints(
    'address and port',
    services.map((service, index) => [`services[${index}]`, service] as const),
  )
  const listener = application.program?.listener
  const ipv6 = services.findIndex(({ address }) => address.includes(':'))
  if (listener !== undefined && ipv6 >= 0 && !listener.address.includes(':')) {
    // A program with an IPv4 listener does not expect IPv6 addresses of what it accepts there.
    const text = `expected an IPv6 listener (of nginx: "listen [::]:80 ipv6only=off"), because services[${ipv6}] is IPv6`
    resolver.problem('application.preload.listener', text)
  }
  const taken: [key: string, endpoint: Endpoint][] = [['control.listen', listen]]
  if (application.listen !== undefined) taken.push(['application.listen', application.listen])
  if (listener !== undefined) taken.push(['application.preload.listener', listener])
  resolver.uniqueEndpoints('address and port', taken)
  return {
    file,
    name: raw.name,
    device: raw.device,
    log: raw.log,
    ...(raw.tunnel !== undefined && { tunnel: resolveTunnel(raw.tunnel, resolver) }),
    control: {
      listen,
      ca: resolver.file('control.ca', control.ca),
      certificate: resolver.file('control.certificate', control.certificate),
      key: resolver.file('control.key', control.key),
      gateways: control.gateways,
    },
    services,
    application,
    moves: {
      ...(moves.requests !== undefined && { requests: moves.requests }),
      ...(moves.module !== undefined && { module: resolver.file('moves.module', moves.module) }),
    },
    limits: raw.limits,
  }
}

function resolveApplication(
  { module, listen, preload, nginx }: ServerFile['application'],
  resolver: Resolver,
): ApplicationConfig {
  const adapter = preload === undefined ? 'nginx' : 'preload'
  if (preload === undefined && nginx === undefined) {
    if (module === undefined)
      resolver.problem('application.module', 'is missing: expected the path of a file, or a table `preload` or `nginx`')
    const path = module === undefined ? '' : resolver.file('application.module', module)
    return listen === undefined ? { module: path } : { module: path, listen: resolver.endpoint(listen) }
  }
  for (const [key, value] of Object.entries({ module, listen, ...(adapter === 'preload' && { nginx }) })) {
    if (value === undefined) continue
    const text = `has no meaning together with \`application.${adapter}\`: that program answers requests`
    resolver.problem(`application.${key}`, text)
  }
  if (preload !== undefined) return { program: resolvePreload(preload, resolver) }
  return { program: resolveNginx(nginx as NonNullable<typeof nginx>, resolver) }
}
