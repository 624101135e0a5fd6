import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'

export interface NginxServerOptions {
  /** The port of the first of `listen`: what is waited for. */
  readonly port: number
  /** The parameters of `listen` directives, such as `80 reuseport`. */
  readonly listen: readonly string[]
  /** Default 2. */
  readonly workers?: number
  /** Lines for the top of the configuration, and for the `events`, `http` and `server` blocks. */
  readonly main?: readonly string[]
  readonly events?: readonly string[]
  readonly http?: readonly string[]
  readonly server?: readonly string[]
  /** Files that it serves, by path, such as `/1k`. */
  readonly files?: Readonly<Record<string, Uint8Array>>
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>
}

let started = 0

/**
 * Starts Debian's nginx as an ordinary server of files on the host and waits until it listens. Its workers are of the user www-data.
 * What it has to complain of comes on its stderr. Throws {@link CommandError} with nginx's words when it refuses.
 */
export async function nginxServer(host: Host, options: NginxServerOptions): Promise<HostProcess> {
  started += 1
  const directory = join(host.directory, `nginx-server-${started}`)
  const root = join(directory, 'root')
  mkdirSync(root, { recursive: true })
  // The workers are not root.
  for (const path of [host.directory, directory, root]) chmodSync(path, 0o755)
  for (const [path, bytes] of Object.entries(options.files ?? {})) writeFileSync(join(root, path), bytes)
  const file = join(directory, 'nginx.conf')
  writeFileSync(file, configuration(directory, options))
  const command = [tool('nginx'), '-p', directory, '-c', file, '-e', 'stderr'] as const
  const nginx = host.spawn([...command], { ...(options.env && { env: options.env }) })
  await nginx.listening(options.port)
  return nginx
}

function configuration(directory: string, options: NginxServerOptions): string {
  const { listen, workers = 2, main = [], events = [], http = [], server = [] } = options
  const lines = (values: readonly string[]) => values.join('\n    ')
  return `
user www-data;
worker_processes ${workers};
daemon off;
pid ${directory}/nginx.pid;
error_log stderr notice;
${main.join('\n')}

events {
    worker_connections 4096;
    ${lines(events)}
}

http {
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    access_log off;
    ${lines(temporaryPaths(directory))}
    ${lines(http)}
    server {
    ${lines(listen.map((parameters) => `listen ${parameters};`))}
    root ${directory}/root;
    ${lines(server)}
    }
}
`
}

function temporaryPaths(directory: string): string[] {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`)
}
