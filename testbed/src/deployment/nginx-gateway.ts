import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Endpoint, formatEndpoint } from '@xoffload/core'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'
import { nginxModule } from './nginx-module.ts'

/** nginx's workers in Debian. */
const USER = 'www-data'

export interface NginxGatewayOptions {
  readonly listen: readonly Endpoint[]
  /** `server` directives of the upstream, such as `10.0.0.1:8080 weight=2`. */
  readonly upstreams: readonly string[]
  /** Lines for the `upstream`, `http` and `server` blocks. */
  readonly upstream?: readonly string[]
  readonly http?: readonly string[]
  readonly server?: readonly string[]
  /** Default 2. */
  readonly workers?: number
}

/** A request that nginx has logged. */
export interface NginxRequest {
  readonly uri: string
  /** 0 when its connection was handed off. */
  readonly status: number
  /** `$xoffload_status`, `$xoffload_server`, `$xoffload_reason`. */
  readonly outcome: string
  readonly server: string
  readonly reason: string
}

/** Debian's nginx with the module, in front of a gateway process on the same host. */
export class NginxGateway {
  readonly process: HostProcess
  /** The socket at which the gateway process is to listen. */
  readonly socket: string
  readonly #log: string

  private constructor(process: HostProcess, socket: string, log: string) {
    this.process = process
    this.socket = socket
    this.#log = log
  }

  /**
   * Makes the folder that the gateway process on this host needs, and gives the table `nginx` of its configuration: so that it can be started
   * before nginx.
   */
  static prepare(host: Host): { readonly socket: string; readonly users: readonly string[] } {
    const folder = join(directoryOf(host), 'run')
    mkdirSync(folder, { recursive: true })
    // The workers are not root.
    for (const path of [host.directory, directoryOf(host), folder]) chmodSync(path, 0o755)
    return { socket: join(folder, 'nginx.sock'), users: [USER] }
  }

  /** Starts nginx and waits until it listens. The gateway process may be started before or after. */
  static async start(host: Host, options: NginxGatewayOptions): Promise<NginxGateway> {
    const directory = directoryOf(host)
    const { socket } = NginxGateway.prepare(host)
    const log = join(directory, 'access.log')
    writeFileSync(log, '')
    const file = join(directory, 'nginx.conf')
    writeFileSync(file, configuration({ directory, socket, log }, options))
    const process = host.spawn([tool('nginx'), '-p', directory, '-c', file, '-e', 'stderr'])
    for (const { port } of options.listen) await process.listening(port)
    return new NginxGateway(process, socket, log)
  }

  /** The requests that were logged, the oldest first. */
  get requests(): NginxRequest[] {
    const lines = readFileSync(this.#log, 'latin1').split('\n').filter(Boolean)
    return lines.map((line) => {
      const [uri = '', status = '', outcome = '', server = '', reason = ''] = line.split('\t')
      return { uri, status: Number(status), outcome, server, reason }
    })
  }

  /** The process ids of the workers. */
  get workers(): number[] {
    const { pid } = this.process
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number)
  }

  /** What it had to complain of that a user would want to know. */
  get complaints(): string[] {
    return this.process.stderr.lines.filter((line) => /\[(?:crit|alert|emerg)\]/.test(line))
  }

  /** Makes it read its configuration again, with new workers. */
  reload(): void {
    process.kill(this.process.pid, 'SIGHUP')
  }
}

function directoryOf({ directory }: Host): string {
  return join(directory, 'nginx-gateway')
}

interface Places {
  readonly directory: string
  readonly socket: string
  readonly log: string
}

function configuration({ directory, socket, log }: Places, options: NginxGatewayOptions): string {
  const { listen, upstreams, upstream = [], http = [], server = [], workers = 2 } = options
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const lines = (values: readonly string[], indent: string) => values.join(`\n${indent}`)
  return `
load_module ${nginxModule};
user ${USER};
worker_processes ${workers};
daemon off;
pid ${directory}/nginx.pid;
error_log stderr notice;

events { worker_connections 4096; }

http {
  log_format xoffload '$uri\t$status\t$xoffload_status\t$xoffload_server\t$xoffload_reason';
  access_log ${log} xoffload;
  default_type application/octet-stream;
  ${lines(
    temporary.map((name) => `${name}_temp_path ${directory}/${name};`),
    '  ',
  )}
  xoffload_gateway unix:${socket};
  ${lines(http, '  ')}
  upstream servers {
    ${lines(
      upstreams.map((parameters) => `server ${parameters};`),
      '    ',
    )}
    ${lines(upstream, '    ')}
  }
  server {
    ${lines(
      listen.map((endpoint) => `listen ${formatEndpoint(endpoint)};`),
      '    ',
    )}
    ${lines(server, '    ')}
    location / {
      xoffload_pass servers;
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }
  }
}
`
}
