import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Endpoint, formatEndpoint } from '@xoffload/core'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'

export interface NginxProxyOptions {
  readonly listen: readonly Endpoint[]
  /** Taken in turn (round robin, nginx's default). */
  readonly upstreams: readonly Endpoint[]
  /** Idle upstream connections that each worker keeps. Default 64. */
  readonly keepalive?: number
  /** Default one per core. */
  readonly workers?: number
  /** Lines that are added to the `http` block, and to the `upstream` block. */
  readonly http?: readonly string[]
  readonly upstream?: readonly string[]
}

let started = 0

/**
 * Starts Debian's nginx as a proxy on the host and waits until it listens: a usual configuration, one worker per core, HTTP/1.1
 * and connections kept open towards the servers, no access log. The rest is as in Debian's nginx.conf and nginx's defaults.
 * All its files are in a directory of its own. Throws {@link CommandError} with nginx's words when it refuses.
 */
export async function nginxProxy(host: Host, options: NginxProxyOptions): Promise<HostProcess> {
  started += 1
  const directory = join(host.directory, `nginx-${started}`)
  mkdirSync(directory)
  const file = join(directory, 'nginx.conf')
  writeFileSync(file, configuration(directory, options))
  const nginx = host.spawn([tool('nginx'), '-p', directory, '-c', file, '-e', join(directory, 'error.log')])
  for (const { port } of options.listen) await nginx.listening(port)
  return nginx
}

function configuration(directory: string, options: NginxProxyOptions): string {
  return `
user www-data;
worker_processes ${options.workers ?? 'auto'};
daemon off;
pid ${directory}/nginx.pid;
error_log stderr;

events {
  worker_connections 768;
}

http {
  sendfile on;
  tcp_nopush on;
  types_hash_max_size 2048;
  default_type application/octet-stream;
  gzip on;
  access_log off;
  ${temporaryPaths(directory)}
  ${(options.http ?? []).join('\n  ')}

  upstream servers {
    ${options.upstreams.map((upstream) => `server ${formatEndpoint(upstream)};`).join('\n    ')}
    keepalive ${options.keepalive ?? 64};
    ${(options.upstream ?? []).join('\n    ')}
  }

  server {
    ${options.listen.map((endpoint) => `listen ${formatEndpoint(endpoint)};`).join('\n    ')}
    location / {
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
`
}

function temporaryPaths(directory: string): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${directory}/${name};`)
    .join('\n  ')
}
