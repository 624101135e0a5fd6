import { expect } from 'bun:test'
import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  Configuration,
  editConfiguration,
  type HandoffRecord,
  type Host,
  type HostProcess,
  nginxServer,
  parseHandoff,
  ports,
  startGateway,
  startServer,
  Testbed,
} from '@xoffload/testbed'
import { type Adapter, type AdoptingNginxOptions, startAdoptingNginx } from '../../src/deployment/adopting-nginx.ts'
import { callControlApi } from '../../src/deployment/control-api.ts'
import { buildNginxModule } from '../../src/deployment/nginx-module.ts'
import type { RawReport } from '../../src/deployment/raw-client.ts'
import { openFiles, ruleCount } from '../../src/inspect.ts'
import { complaintsOf, eventually, files, workersOf } from './adopting-nginx.ts'

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
/** Of all files: Last-Modified and ETag follow from it. Seconds. */
const MODIFIED = 1_000_000

/** When connections move, after how many requests they are offered for that, and by which adapter: for `describe.each`. */
export const waysOfMoving = [
  ['never', undefined, 'preload'],
  ['before every request', 1, 'preload'],
  ["before every request, by nginx's module", 1, 'module'],
] as const

export interface NginxHostsOptions {
  readonly servers: readonly string[]
  /** Connections are offered to the gateway after so many requests. Without it: never. */
  readonly every?: number
  /** How nginx takes connections: by the library that is loaded before it, or by its module. Default `preload`. */
  readonly adapter?: Adapter
  /** Lines for nginx's `http` and `server` blocks. */
  readonly http?: readonly string[]
  readonly server?: readonly string[]
  /** Called with the gateway's host and its configuration file before it is started. */
  readonly prepareGateway?: (host: Host, file: string) => Promise<void>
}

/** A server's processes. */
export interface NginxHost {
  readonly host: Host
  readonly nginx: HostProcess
  agent: HostProcess
  /** The agent's configuration file. */
  readonly file: string
}

/** Stock nginx on several hosts behind a gateway, another nginx that clients reach directly, and a client host. */
export class NginxHosts implements AsyncDisposable {
  readonly testbed: Testbed
  readonly gateway: HostProcess
  readonly servers: readonly NginxHost[]
  readonly handoffs: HandoffRecord[] = []
  readonly #configuration: Configuration
  readonly #socket: string

  private constructor(
    testbed: Testbed,
    { gateway, servers, configuration, socket }: Parts & { readonly gateway: HostProcess },
  ) {
    this.testbed = testbed
    this.gateway = gateway
    this.servers = servers
    this.#configuration = configuration
    this.#socket = socket
    gateway.stdout.onLine((line) => {
      const record = parseHandoff(line)
      if (record !== undefined) this.handoffs.push(record)
    })
  }

  static async start(options: NginxHostsOptions): Promise<NginxHosts> {
    const testbed = await Testbed.create({ hosts: ['client', 'gateway', 'plain', ...options.servers], service: {} })
    try {
      const host = testbed.host('gateway')
      const parts = await startServers(testbed, host, options)
      const file = await parts.configuration.gatewayFile()
      editConfiguration(file, (config) => {
        config.api = { listen: `unix:${parts.socket}` }
        for (const server of config.servers as { name: string; proxy: string }[])
          server.proxy = `${testbed.host(server.name).ipv4}:${ports.service}`
      })
      await options.prepareGateway?.(host, file)
      const hosts = parts.servers.map(({ host: server }) => server)
      const gateway = await startGateway(host, hosts, parts.configuration, file)
      return new NginxHosts(testbed, { ...parts, gateway })
    } catch (error) {
      await testbed.close()
      throw error
    }
  }

  get client(): Host {
    return this.testbed.host('client')
  }

  get address(): string {
    return this.testbed.service?.ipv4 ?? ''
  }

  get url(): string {
    return `http://${this.address}`
  }

  /** The nginx that knows of nothing. */
  get plain(): string {
    return this.testbed.host('plain').ipv4
  }

  /** What a client receives that sends these bytes, but for the date; and how its connection ended. */
  async answer(address: string, mode: 'read' | 'half-close', bytes: string): Promise<string> {
    const payload = Buffer.from(bytes, 'latin1').toString('base64')
    const command = [process.execPath, rawClient, address, `${ports.service}`, mode, payload] as const
    const { stdout } = await this.client.run([...command], { timeout: 30_000 })
    const { received, error } = JSON.parse(stdout) as RawReport
    return comparable(`${received}${error ?? ''}`)
  }

  /** What plain nginx answers to these bytes, and what comes through the gateway. */
  answers(bytes: string): Promise<[plain: string, gateway: string]> {
    return Promise.all([this.answer(this.plain, 'read', bytes), this.answer(this.address, 'read', bytes)])
  }

  async curl(...args: string[]): Promise<string> {
    const { stdout } = await this.client.run(['curl', '-sS', '--max-time', '20', ...args], { timeout: 30_000 })
    return comparable(stdout)
  }

  /** What has been uploaded under this name, to each server that has it. */
  uploads(name: string): Buffer[] {
    return this.servers
      .flatMap(({ host }) => readdirSync(host.directory, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.name === name && entry.parentPath.endsWith('/put'))
      .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
  }

  /** Calls the gateway's control API. */
  order(method: string, path: string, body?: object): Promise<unknown> {
    return callControlApi(this.#socket, method, path, { ...(body !== undefined && { body }) })
  }

  /** Connections by server. */
  async connections(): Promise<Record<string, number>> {
    return Object.fromEntries((await this.#servers()).map(({ name, connections }) => [name, connections]))
  }

  async #servers(): Promise<readonly { name: string; up: boolean; connections: number }[]> {
    return ((await this.order('GET', 'servers')) as { servers: { name: string; up: boolean; connections: number }[] })
      .servers
  }

  /** Starts the agent of a server again. */
  async startAgent(server: NginxHost): Promise<void> {
    server.agent = await startAgent(server.host, this.#configuration, server.file)
    await server.agent.line(/"event":"gateway-up"/)
    const isUp = async () => (await this.#servers()).some(({ name, up }) => up && name === server.host.name)
    await eventually(isUp)
  }

  /** Returns what expects that files and rules are as many as now, once everything had the time to end. */
  rememberUse(): () => Promise<void> {
    const hosts = [this.testbed.host('gateway'), ...this.servers.map(({ host }) => host)]
    const count = () => [
      openFiles(this.gateway),
      ...this.servers.flatMap(({ agent, nginx }) => [filesOf(agent.pid), ...workersOf(nginx).map(filesOf)]),
      ...hosts.map(ruleCount),
    ]
    const before = count()
    const isMore = () => count().some((value, index) => value > (before[index] ?? 0))
    return () => eventually(() => !isMore()).catch(() => expect(count()).toEqual(before))
  }

  /** Runs `task` and expects that it leaves no file and no rule. */
  async leavesNothing<T>(task: () => Promise<T>): Promise<T> {
    const nothingIsLeft = this.rememberUse()
    const result = await task()
    await nothingIsLeft()
    return result
  }

  /** What nginx had to complain of. */
  get complaints(): readonly string[] {
    return this.servers.flatMap(({ nginx }) => complaintsOf(nginx))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.testbed.close()
  }
}

interface Parts {
  readonly servers: NginxHost[]
  readonly configuration: Configuration
  /** Of the control API. */
  readonly socket: string
}

async function startServers(testbed: Testbed, gateway: Host, options: NginxHostsOptions): Promise<Parts> {
  if (testbed.service === undefined) throw new Error('no service address')
  const hosts = options.servers.map((name) => testbed.host(name))
  const configuration = await Configuration.create(gateway, hosts, testbed.service)
  const { http = [], server = [], every, adapter = 'preload' } = options
  if (adapter === 'module') await buildNginxModule()
  const plain = testbed.host('plain')
  await nginxServer(plain, { port: ports.service, listen: [`${ports.service}`], files, http, server })
  const servers: NginxHost[] = []
  for (const host of hosts) servers.push(await startNginxHost(host, configuration, adapter, { http, server, every }))
  for (const host of [plain, ...hosts]) prepareFiles(host)
  return { servers, configuration, socket: join(gateway.directory, 'api.sock') }
}

async function startNginxHost(
  host: Host,
  configuration: Configuration,
  adapter: Adapter,
  options: Pick<AdoptingNginxOptions, 'http' | 'server' | 'every'>,
): Promise<NginxHost> {
  const { nginx, file } = await startAdoptingNginx(host, configuration, adapter, { ...options, files })
  return { host, nginx, agent: await startAgent(host, configuration, file), file }
}

async function startAgent(host: Host, configuration: Configuration, file: string): Promise<HostProcess> {
  const agent = await startServer(host, configuration, file)
  await agent.line(/"event":"server-program-up"/)
  return agent
}

/** The descriptors of a process but for Unix sockets: those come with each process of nginx that takes its first connection. */
function filesOf(pid: number): number {
  const inodes = readFileSync(`/proc/${pid}/net/unix`, 'latin1')
    .split('\n')
    .map((line) => `socket:[${line.split(/\s+/)[6]}]`)
  const unix = new Set(inodes)
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => !unix.has(targetOf(`/proc/${pid}/fd/${fd}`))).length
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    // It was closed a moment ago.
    return ''
  }
}

/** Makes the folder for uploads, and all files of one age. */
function prepareFiles({ directory }: Host): void {
  const paths = servedFiles(directory)
  for (const path of paths) utimesSync(path, MODIFIED, MODIFIED)
  const uploads = join(dirname(paths[0] ?? directory), 'put')
  mkdirSync(uploads)
  chmodSync(uploads, 0o777)
}

function servedFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.endsWith('/root'))
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Without the dates, and the numbers that nginx puts between several ranges. */
export function comparable(text: string): string {
  return text.replaceAll(/^Date: .*$/gim, 'Date: -').replaceAll(/\b\d{20}\b/g, '-')
}
