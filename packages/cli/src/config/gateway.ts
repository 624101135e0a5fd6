import type { Endpoint } from '@xoffload/core'
import { type ApiConfig, resolveApi } from './api.ts'
import { type NginxConfig, resolveNginx } from './gateway-nginx.ts'
import type { GatewayFile } from './gateway-schema.ts'
import { type RedirectorConfig, resolveRedirector } from './redirector.ts'
import type { Resolver } from './resolve.ts'

/** Absolute paths of the PEM files of the control channel. */
export interface ControlFiles {
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

/** A server as the gateway's configuration names it. */
export interface GatewayServer {
  readonly name: string
  readonly control: Endpoint
  /** Where requests go that cannot be handed off. */
  readonly proxy?: Endpoint
  /** The tunnel that leads to it; absent when it is on the segment. */
  readonly tunnel?: 'vxlan' | 'ipip'
}

/** How the server of a request is chosen. `module` is an absolute path. */
export type SelectionConfig =
  | { readonly policy: 'round-robin' | 'least-connections' }
  | {
      readonly policy: 'consistent-hash'
      readonly property: 'path' | 'client' | { readonly header: string } | { readonly cookie: string }
    }
  | { readonly policy: 'module'; readonly module: string }

/** A gateway's configuration, checked and complete. */
export interface GatewayConfig {
  /** The absolute path of the file. */
  readonly file: string
  readonly name: string
  readonly device: string
  readonly log: GatewayFile['log']
  /** The service addresses with the service port, at least one. */
  readonly service: readonly Endpoint[]
  readonly control: ControlFiles
  readonly servers: readonly GatewayServer[]
  readonly selection: SelectionConfig
  /** Present when nginx accepts the clients. */
  readonly nginx?: NginxConfig
  readonly redirector: RedirectorConfig
  /** Where the control API is served; absent when it is not. */
  readonly api?: ApiConfig
  /** See `configReference('gateway')` for units. */
  readonly limits: Readonly<GatewayFile['limits']>
}

/** Resolves and checks what the schema cannot express; problems go to `resolver`. */
export function resolveGateway(file: string, raw: GatewayFile, resolver: Resolver): GatewayConfig {
  return {
    file,
    name: raw.name,
    device: raw.device,
    log: raw.log,
    service: resolveService(raw, resolver),
    control: {
      ca: resolver.file('control.ca', raw.control.ca),
      certificate: resolver.file('control.certificate', raw.control.certificate),
      key: resolver.file('control.key', raw.control.key),
    },
    servers: resolveServers(raw, resolver),
    selection: resolveSelection(raw, resolver),
    ...(raw.nginx !== undefined && { nginx: resolveNginx(raw.nginx, resolver) }),
    redirector: resolveRedirector(raw.redirector, resolver),
    ...(raw.api !== undefined && { api: resolveApi(file, raw.api, resolver) }),
    limits: raw.limits,
  }
}

function resolveService({ service }: GatewayFile, resolver: Resolver): Endpoint[] {
  if ((service.address === undefined) === (service.addresses === undefined)) {
    resolver.problem(
      'service',
      `expected either "address" or "addresses", found ${service.address === undefined ? 'none' : 'both'}`,
    )
  }
  const texts = service.addresses ?? (service.address === undefined ? [] : [service.address])
  const endpoints = texts.map((text) => resolver.addressAndPort(text, service.port))
  resolver.uniqueEndpoints(
    'address',
    endpoints.map((endpoint, index) => [`service.addresses[${index}]`, endpoint] as const),
  )
  return endpoints
}

function resolveServers(raw: GatewayFile, resolver: Resolver): GatewayServer[] {
  const servers = raw.servers.map(({ name, control, proxy, tunnel }): GatewayServer => {
    const server = { name, control: resolver.endpoint(control), ...(tunnel && { tunnel }) }
    return proxy === undefined ? server : { ...server, proxy: resolver.endpoint(proxy) }
  })
  const names = servers.map(({ name }, index) => [`servers[${index}].name`, name] as const)
  resolver.unique('name', [['name', raw.name], ...names])
  resolver.uniqueEndpoints(
    'endpoint',
    servers.map(({ control }, index) => [`servers[${index}].control`, control] as const),
  )
  return servers
}

function resolveSelection({ selection }: GatewayFile, resolver: Resolver): SelectionConfig {
  const { policy, key, module } = selection
  if (key !== undefined && policy !== 'consistent-hash') {
    resolver.problem('selection.key', `has a meaning only with policy "consistent-hash", found policy "${policy}"`)
  }
  if (module !== undefined && policy !== 'module') {
    resolver.problem('selection.module', `has a meaning only with policy "module", found policy "${policy}"`)
  }
  if (policy === 'module') {
    if (module === undefined)
      resolver.problem('selection.module', 'is missing: expected the path of a file with policy "module"')
    return { policy, module: module === undefined ? '' : resolver.file('selection.module', module) }
  }
  if (policy !== 'consistent-hash') return { policy }
  if (key === undefined)
    resolver.problem('selection.key', 'is missing: expected what to hash with policy "consistent-hash"')
  return { policy, property: hashProperty(key ?? 'path') }
}

function hashProperty(key: string): Extract<SelectionConfig, { policy: 'consistent-hash' }>['property'] {
  const [kind, name = ''] = key.split(':')
  if (kind === 'header') return { header: name }
  if (kind === 'cookie') return { cookie: name }
  return kind === 'client' ? 'client' : 'path'
}
