import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Endpoint, formatEndpoint } from '@xoffload/core'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'

export interface HaproxyOptions {
  readonly listen: readonly Endpoint[]
  /** Taken in turn (round robin). */
  readonly upstreams: readonly Endpoint[]
  /** Default one per core, as HAProxy's. */
  readonly threads?: number
  /** Lines that are added to the `defaults` section. */
  readonly defaults?: readonly string[]
}

let started = 0

/**
 * Starts Debian's HAProxy as a proxy on the host and waits until it listens: a usual configuration, one thread per core, connections
 * kept open towards the servers and shared by all clients, large responses spliced in the kernel, no log. The rest is HAProxy's default.
 * Throws {@link CommandError} with HAProxy's words when it refuses.
 */
export async function haproxy(host: Host, options: HaproxyOptions): Promise<HostProcess> {
  started += 1
  const directory = join(host.directory, `haproxy-${started}`)
  mkdirSync(directory)
  const file = join(directory, 'haproxy.cfg')
  writeFileSync(file, configuration(options))
  // -db: neither a daemon nor a master process.
  const proxy = host.spawn([tool('haproxy'), '-db', '-f', file])
  for (const { port } of options.listen) await proxy.listening(port)
  return proxy
}

function configuration({ listen, upstreams, threads, defaults = [] }: HaproxyOptions): string {
  return `
global
  user haproxy
  group haproxy
  maxconn 4096
  nbthread ${threads ?? availableParallelism()}

defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
  http-reuse always
  option splice-auto
  ${defaults.join('\n  ')}

frontend service
  ${listen.map((endpoint) => `bind ${formatEndpoint(endpoint)}`).join('\n  ')}
  default_backend servers

backend servers
  balance roundrobin
  ${upstreams.map((upstream, index) => `server server${index + 1} ${formatEndpoint(upstream)}`).join('\n  ')}
`
}
