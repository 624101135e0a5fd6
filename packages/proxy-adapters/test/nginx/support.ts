import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type NginxArrival, NginxGatewayServer, type NginxVerdict } from '@xoffload/proxy-adapters/nginx'
import { RawClient } from '../raw-client.ts'

const build = join(import.meta.dir, '../../nginx/build.sh')
/** The module, built for the nginx of this machine. */
export const moduleFile = join(import.meta.dir, '../../nginx/build/ngx_http_xoffload_module.so')
/** Building takes 20 seconds, and longer on a busy machine. */
export const BUILD_TIMEOUT = 300_000
/** What is waited for comes as fast as the machine is; this is for one that is very busy. */
export const TIMEOUT = 60_000

/** Builds the module unless that was done. */
export async function buildModule(): Promise<void> {
  const child = Bun.spawn(['bash', build], { stdout: 'ignore', stderr: 'pipe' })
  const text = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new Error(text)
}

const clean: (() => void | Promise<void>)[] = []

/** Undoes what a test has set up, the last first. */
export async function cleanUp(): Promise<void> {
  const errors: unknown[] = []
  for (const step of clean.splice(0).reverse()) {
    try {
      await step()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}

export function afterTest(step: () => void | Promise<void>): void {
  clean.push(step)
}

/** Looks again and again until it is so: for what no event tells of. */
export async function eventually(condition: () => boolean | Promise<boolean>, what = 'it'): Promise<void> {
  const deadline = performance.now() + TIMEOUT / 2
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what} did not become so`)
    await Bun.sleep(5)
  }
}

/** Below those that the kernel gives to clients and to who asks for any (net.ipv4.ip_local_port_range). */
const [FIRST_PORT, END_OF_PORTS] = [12_000, 32_000]
let nextPort = FIRST_PORT + (process.pid % (END_OF_PORTS - FIRST_PORT))

/**
 * A port that nobody listens on, and nobody gets by chance before it is listened on. Nor does a client that tries it too early: one
 * whose own port the kernel chooses may be connected to itself (RFC 9293, simultaneous open).
 */
export function freePort(hostname = '127.0.0.1'): number {
  for (let tried = 0; tried < END_OF_PORTS - FIRST_PORT; tried++) {
    const port = nextPort++
    if (nextPort === END_OF_PORTS) nextPort = FIRST_PORT
    try {
      Bun.listen({ hostname, port, socket: { data: () => {} } }).stop(true)
      return port
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
  throw new Error('no port is free')
}

export interface NginxOptions {
  /** Lines for the location `/`, before its `proxy_pass`. */
  readonly location?: readonly string[]
  /** Lines for the server. */
  readonly server?: readonly string[]
  /** Lines for the `http` block. */
  readonly http?: readonly string[]
  /** Lines for the top. */
  readonly main?: readonly string[]
  /** Parameters of `listen`. */
  readonly listen?: string
  /** The command that nginx is started with, such as valgrind's. */
  readonly command?: readonly string[]
}

/** A running nginx with the module: a proxy for an application that says what it was asked. */
export class Nginx {
  readonly directory = mkdtempSync(join(tmpdir(), 'xoffload-nginx-'))
  readonly port = freePort()
  readonly socket = join(this.directory, 'gateway', 'nginx.sock')
  readonly #application: Bun.Server<undefined>
  readonly #applicationPeers = new Set<string>()
  #child: Bun.Subprocess | undefined
  #alertsExpected = false

  private constructor() {
    chmodSync(this.directory, 0o755)
    mkdirSync(join(this.directory, 'gateway'))
    this.#application = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: async (request, server) => {
        this.#applicationPeers.add(`${server.requestIP(request)?.port}`)
        const { pathname } = new URL(request.url)
        if (pathname === '/hang') await once(request.signal, 'abort')
        return new Response(
          `proxied ${request.method} ${pathname} ${request.headers.get('x-test')} ${await request.text()}`,
        )
      },
    })
  }

  /** Starts it and waits until it listens. */
  static async start(options: NginxOptions = {}): Promise<Nginx> {
    const nginx = new Nginx()
    afterTest(() => nginx.stop())
    await nginx.#start(options)
    return nginx
  }

  /** What it says of a configuration that it does not take. */
  static async complaint(options: NginxOptions): Promise<string> {
    const nginx = new Nginx()
    afterTest(async () => {
      await nginx.#application.stop(true)
      rmSync(nginx.directory, { recursive: true })
    })
    const child = Bun.spawn([...nginx.#command(options), '-t'], { stderr: 'pipe' })
    const text = await new Response(child.stderr).text()
    if ((await child.exited) === 0) throw new Error('nginx takes the configuration')
    return text
  }

  /** The address of the application. */
  get application(): string {
    return `127.0.0.1:${this.#application.port}`
  }

  /** How many connections nginx has made to it. */
  get applicationConnections(): number {
    return this.#applicationPeers.size
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Lines of the access log: the URI's path, the status, and the module's three variables. */
  get accessLog(): string[] {
    return readFileSync(join(this.directory, 'access.log'), 'latin1').trimEnd().split('\n')
  }

  get errorLog(): string {
    return readFileSync(join(this.directory, 'error.log'), 'latin1')
  }

  /** Waits for a line of the access log; PORT in it stands for the application's. */
  async logged(text: string): Promise<void> {
    const line = text.replace('PORT', `${this.#application.port}`)
    await eventually(() => this.accessLog.includes(line), `the access log\n${this.accessLog.join('\n')}\nwith ${line}`)
  }

  /** The process ids of its workers. */
  get workers(): number[] {
    const text = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1')
    return text.split(' ').flatMap((pid) => (pid === '' ? [] : [Number(pid)]))
  }

  /** The test has done what nginx calls an alert. */
  expectAlerts(): void {
    this.#alertsExpected = true
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Ends it in order, and says with which status. */
  async quit(): Promise<number> {
    this.kill('SIGQUIT')
    return (await this.#child?.exited) ?? 0
  }

  async client(): Promise<RawClient> {
    const client = await RawClient.connect(this.port)
    afterTest(() => client.close())
    return client
  }

  async stop(): Promise<void> {
    this.kill('SIGTERM')
    await this.#child?.exited
    await this.#application.stop(true)
    const alerts = this.errorLog.split('\n').filter((line) => /\[(?:alert|emerg|crit)\]/.test(line))
    rmSync(this.directory, { recursive: true, force: true })
    if (alerts.length > 0 && !this.#alertsExpected) throw new Error(alerts.join('\n'))
  }

  async #start(options: NginxOptions): Promise<void> {
    writeFileSync(join(this.directory, 'access.log'), '')
    this.#child = Bun.spawn(this.#command(options), { stdio: ['ignore', 'inherit', 'inherit'] })
    await eventually(async () => {
      if (this.#child?.exitCode !== null) throw new Error(`nginx did not start:\n${this.errorLog}`)
      try {
        const client = await RawClient.connect(this.port)
        client.close()
        return true
      } catch {
        return false
      }
    }, 'nginx')
  }

  #command(options: NginxOptions): string[] {
    const file = join(this.directory, 'nginx.conf')
    writeFileSync(file, this.#configuration(options))
    const log = join(this.directory, 'error.log')
    return [...(options.command ?? []), '/usr/sbin/nginx', '-p', this.directory, '-c', file, '-e', log]
  }

  #configuration({ location = [], server = [], http = [], main = [], listen = '' }: NginxOptions): string {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    return `
load_module ${moduleFile};
user www-data;
${main.some((line) => line.startsWith('worker_processes')) ? '' : 'worker_processes 2;'}
daemon off;
pid ${this.directory}/nginx.pid;
error_log ${this.directory}/error.log info;
${main.join('\n')}
events { worker_connections 1024; }
http {
  log_format test '$uri $status $xoffload_status $xoffload_server "$xoffload_reason"';
  access_log ${this.directory}/access.log test;
  ${temporary.map((name) => `${name}_temp_path ${this.directory}/${name};`).join('\n  ')}
  xoffload_gateway unix:${this.socket};
  upstream application { server localhost:${this.#application.port}; keepalive 4; }
  ${http.join('\n  ')}
  server {
    listen 127.0.0.1:${this.port} ${listen};
    ${server.join('\n    ')}
    location / {
      xoffload_pass application;
      ${location.join('\n      ')}
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
`
  }
}

export interface Gateway {
  readonly server: NginxGatewayServer
  readonly arrivals: NginxArrival[]
  readonly errors: unknown[]
}

/** The gateway process, here in the test's. */
export async function gateway(
  nginx: Nginx,
  onArrival: (arrival: NginxArrival) => NginxVerdict | Promise<NginxVerdict>,
  options: { readonly users?: readonly number[]; readonly maximumInFlight?: number } = {},
): Promise<Gateway> {
  const arrivals: NginxArrival[] = []
  const errors: unknown[] = []
  const server = await NginxGatewayServer.open({
    socket: nginx.socket,
    // www-data on Debian.
    users: [33],
    onError: (error) => errors.push(error),
    onArrival: async (arrival) => {
      arrivals.push(arrival)
      return await onArrival(arrival)
    },
    ...options,
  })
  afterTest(() => server.close())
  return { server, arrivals, errors }
}
