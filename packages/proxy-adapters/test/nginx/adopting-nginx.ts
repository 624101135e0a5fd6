import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type PreloadAdoptOptions,
  type PreloadConnection,
  PreloadServer,
  type PreloadServerOptions,
  preloadEnvironment,
} from '@xoffload/proxy-adapters/preload'
import { establishedSocket } from '../established-socket.ts'
import { RawClient } from '../raw-client.ts'
import { afterTest, eventually, freePort, moduleFile } from './support.ts'

/** What the server says of itself, and of the client. */
const ANSWER = '$request_method $uri $remote_addr:$remote_port $server_addr:$server_port $connection_requests $pid'

export interface AdoptingNginxOptions {
  /** What takes the connections: its module, or the library that is loaded before it. Default `module`. */
  readonly adopter?: 'module' | 'preload'
  /** Parameters of `listen`, `PORT` in it stands for the port. */
  readonly listen?: string
  /** Lines for the server that adopts. */
  readonly server?: readonly string[]
  /** Lines for the `http` block. */
  readonly http?: readonly string[]
  /** Lines for the top. */
  readonly main?: readonly string[]
  /** The command that nginx is started with, such as valgrind's. */
  readonly command?: readonly string[]
}

/** A running nginx that serves connections which it is given. */
export class AdoptingNginx {
  readonly directory = mkdtempSync(join(tmpdir(), 'xoffload-adopt-'))
  readonly port = freePort()
  readonly socket = join(this.directory, 'agent', 'nginx.sock')
  readonly #options: AdoptingNginxOptions
  #child: Bun.Subprocess | undefined
  #alertsExpected = false

  private constructor(options: AdoptingNginxOptions) {
    this.#options = options
    chmodSync(this.directory, 0o755)
    mkdirSync(join(this.directory, 'agent'))
    mkdirSync(join(this.directory, 'files'))
    writeFileSync(join(this.directory, 'files', 'large'), Buffer.alloc(4 << 20, 'large '))
    // More than the buffers of two sockets hold.
    writeFileSync(join(this.directory, 'files', 'huge'), Buffer.alloc(16 << 20, 'huge '))
    writeFileSync(join(this.directory, 'nginx.conf'), this.#configuration())
    writeFileSync(join(this.directory, 'error.log'), '')
  }

  /** Starts it and waits until it listens. */
  static async start(options: AdoptingNginxOptions = {}): Promise<AdoptingNginx> {
    const nginx = new AdoptingNginx(options)
    afterTest(() => nginx.stop())
    nginx.#child = Bun.spawn(nginx.#command(), {
      stdio: ['ignore', 'inherit', 'inherit'],
      ...(nginx.#isPreloaded && { env: { ...process.env, ...preloadEnvironment(nginx.socket) } }),
    })
    await eventually(() => nginx.#listens(), 'nginx')
    // A worker answers, or else it is only the kernel.
    await eventually(() => nginx.workers.length > 0, 'a worker')
    return nginx
  }

  /** What it says of a configuration that it does not take. */
  static async complaint(options: AdoptingNginxOptions): Promise<string> {
    const nginx = new AdoptingNginx(options)
    afterTest(() => rmSync(nginx.directory, { recursive: true }))
    const child = Bun.spawn([...nginx.#command(), '-t'], { stderr: 'pipe' })
    const text = await new Response(child.stderr).text()
    if ((await child.exited) === 0) throw new Error('nginx takes the configuration')
    return text
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Lines of the access log: the client's address, the URI and the status. */
  get accessLog(): string[] {
    return readFileSync(join(this.directory, 'access.log'), 'latin1').trimEnd().split('\n')
  }

  get errorLog(): string {
    return readFileSync(join(this.directory, 'error.log'), 'latin1')
  }

  /** The process ids of its workers. */
  get workers(): number[] {
    const text = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1')
    return text.split(' ').flatMap((pid) => (pid === '' ? [] : [Number(pid)]))
  }

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

  /** The agent, here in the test's process. Resolves when all workers can be given connections. */
  async agent(options: Partial<PreloadServerOptions> = {}): Promise<Agent> {
    const errors: unknown[] = []
    const server = await PreloadServer.open({
      socket: this.socket,
      // www-data on Debian.
      users: [33],
      // Longer than a busy machine keeps this process from answering.
      askTimeout: 1000,
      onError: (error) => errors.push(error),
      ...(this.#isPreloaded && { listener: { address: '127.0.0.1', port: this.port } }),
      ...options,
    })
    afterTest(() => server.close())
    if (this.#isPreloaded) {
      await server.ready()
      return { server, errors }
    }
    const workers = this.workers.length
    await eventually(() => server.processes.length >= workers, 'the workers')
    return { server, errors }
  }

  async stop(): Promise<void> {
    this.kill('SIGTERM')
    await this.#child?.exited
    const alerts = this.errorLog.split('\n').filter((line) => /\[(?:alert|emerg|crit)\]/.test(line))
    rmSync(this.directory, { recursive: true, force: true })
    if (alerts.length > 0 && !this.#alertsExpected) throw new Error(alerts.join('\n'))
  }

  get #isPreloaded(): boolean {
    return this.#options.adopter === 'preload'
  }

  async #listens(): Promise<boolean> {
    if (this.#child?.exitCode !== null) throw new Error(`nginx did not start:\n${this.errorLog}`)
    try {
      const client = await RawClient.connect(this.port)
      client.close()
      return true
    } catch {
      return false
    }
  }

  #command(): string[] {
    const [file, log] = [join(this.directory, 'nginx.conf'), join(this.directory, 'error.log')]
    return [...(this.#options.command ?? []), '/usr/sbin/nginx', '-p', this.directory, '-c', file, '-e', log]
  }

  #configuration(): string {
    const { listen = '127.0.0.1:PORT', server = [], http = [], main = [] } = this.#options
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    return `
${this.#isPreloaded ? '' : `load_module ${moduleFile};`}
user www-data;
${main.some((line) => line.startsWith('worker_processes')) ? '' : 'worker_processes 2;'}
daemon off;
pid ${this.directory}/nginx.pid;
error_log ${this.directory}/error.log info;
${main.join('\n')}
${main.some((line) => line.startsWith('events')) ? '' : 'events { worker_connections 4096; }'}
http {
  log_format test '$remote_addr:$remote_port $uri $status';
  access_log ${this.directory}/access.log test;
  keepalive_requests 1000000;
  ${temporary.map((name) => `${name}_temp_path ${this.directory}/${name};`).join('\n  ')}
  ${http.join('\n  ').replaceAll('PORT', `${this.port}`)}
  server {
    listen ${listen.replaceAll('PORT', `${this.port}`)};
    ${this.#isPreloaded ? '' : `xoffload_adopt unix:${this.socket};`}
    root ${this.directory}/files;
    ${server.join('\n    ')}
    location / { return 200 "${ANSWER}"; }
    location = /large { }
    location = /huge { limit_rate 16m; }
    location = /echo { client_body_in_single_buffer on; proxy_pass http://127.0.0.1:${this.port}/body; }
  }
}
`
  }
}

export interface Agent {
  readonly server: PreloadServer
  readonly errors: unknown[]
}

export interface AdoptedClient {
  readonly client: RawClient
  readonly connection: PreloadConnection
  /** As nginx has it: `ADDRESS:PORT`. */
  readonly address: string
  /** Resolves when nothing more is to be expected of the connection. */
  readonly closed: Promise<void>
}

/** A client whose connection nginx was given. */
export async function adoptClient(server: PreloadServer, options: PreloadAdoptOptions = {}): Promise<AdoptedClient> {
  const { fd, client } = await establishedSocket()
  afterTest(() => client.close())
  const closed = Promise.withResolvers<void>()
  const connection = server.adopt(fd, { onClose: () => closed.resolve(), ...options })
  await connection.taken
  return { client, connection, address: `127.0.0.1:${client.localPort}`, closed: closed.promise }
}

/** How many descriptors a process has open. */
export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}
