import { ports } from '../../src/deployment/configuration.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { NginxGateway, type NginxGatewayOptions } from '../../src/deployment/nginx-gateway.ts'
import { command } from '../../src/deployment/programs.ts'
import type { Host } from '../../src/host.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { openFiles, ruleCount } from '../../src/inspect.ts'
import type { WrkResult } from '../../src/peers/wrk.ts'
import { MovingHosts, type MovingHostsOptions, until } from './moving-hosts.ts'

/** What is waited for comes as fast as the machine is; this is for one that is very busy. Milliseconds. */
const PATIENCE = 30_000

export interface NginxFrontedOptions extends Pick<MovingHostsOptions, 'moves' | 'selection'> {
  readonly servers: readonly string[]
  /** Added to the gateway's table `nginx`. */
  readonly table?: object
  /** The gateway's table `limits`. */
  readonly limits?: object
  /** Lines of nginx's configuration. It has one worker unless it says otherwise. */
  readonly nginx?: Omit<NginxGatewayOptions, 'listen' | 'upstreams'>
  /** What follows the address in a server's `server` directive. */
  readonly parameters?: string
}

/** Servers behind nginx and a gateway process, and a client host. */
export class NginxFronted implements AsyncDisposable {
  readonly hosts: MovingHosts
  readonly nginx: NginxGateway
  readonly #names: readonly string[]

  private constructor(hosts: MovingHosts, nginx: NginxGateway, names: readonly string[]) {
    this.hosts = hosts
    this.nginx = nginx
    this.#names = names
  }

  static async start(options: NginxFrontedOptions): Promise<NginxFronted> {
    const { servers, table, limits = {}, nginx, parameters = '', ...others } = options
    const hosts = await MovingHosts.start({
      servers,
      ...others,
      startGateway: (host, file) => {
        const own = NginxGateway.prepare(host)
        editConfiguration(file, (config) => Object.assign(config, { limits, nginx: { ...own, ...table } }))
        return startProcess(host, file)
      },
    })
    try {
      const { testbed, addresses } = hosts
      const front = await NginxGateway.start(testbed.host('gateway'), {
        workers: 1,
        ...nginx,
        listen: [addresses.ipv4, addresses.ipv6].map((address) => ({ address, port: ports.service })),
        upstreams: servers.map((name) => `${testbed.host(name).ipv4}:${ports.application} ${parameters}`),
      })
      await hosts.serversUp()
      const fronted = new NginxFronted(hosts, front, servers)
      // The worker connects to the gateway process when it has the first connection to give.
      await fronted.curl(fronted.url)
      await fronted.until(() => front.requests.length === 1)
      return fronted
    } catch (error) {
      await hosts[Symbol.asyncDispose]()
      throw error
    }
  }

  get url(): string {
    return `http://${this.hosts.addresses.ipv4}`
  }

  get client(): Host {
    return this.hosts.testbed.host('client')
  }

  get gatewayHost(): Host {
    return this.hosts.testbed.host('gateway')
  }

  /** Starts another gateway process, which is the gateway from now on. */
  async startGateway(...options: string[]): Promise<void> {
    this.hosts.replaceGateway(await startProcess(this.gatewayHost, this.hosts.gatewayFile, ...options))
    await this.hosts.serversUp()
  }

  async curl(...args: string[]): Promise<string> {
    const { stdout } = await this.client.run(['curl', '-sS', '--max-time', '20', ...args], { timeout: PATIENCE })
    return stdout
  }

  /** Resolves when nginx has logged so many requests with this `$xoffload_status`. */
  async logged(outcome: string, count: number): Promise<void> {
    await until(() => this.count(outcome) >= count, PATIENCE)
  }

  /** How many requests nginx has logged with this `$xoffload_status`. */
  count(outcome: string): number {
    return this.nginx.requests.filter((request) => request.outcome === outcome).length
  }

  /** The server that has the client's connection, undefined when none has it. */
  async serverOf(client: string): Promise<string | undefined> {
    const answer = await this.hosts
      .order('GET', `flows/${encodeURIComponent(this.hosts.flow(client))}`)
      .catch(() => ({}))
    return (answer as { server?: string }).server
  }

  /** Resolves when the condition holds. */
  until(condition: () => boolean | Promise<boolean>): Promise<void> {
    return until(condition, PATIENCE)
  }

  /** How many rules there are on a host. */
  rules(name: string): number {
    return ruleCount(this.hosts.testbed.host(name))
  }

  /** Runs `use` and expects that files and rules are as many as before, once everything had the time to end. */
  async leavesNothing<T>(use: () => Promise<T>): Promise<T> {
    const { testbed, gateway, servers } = this.hosts
    const names = ['gateway', ...this.#names]
    const count = (): number[] => [
      ...[gateway, ...servers].map(openFiles),
      ...names.map((name) => ruleCount(testbed.host(name))),
    ]
    const before = count()
    const result = await use()
    const isMore = (): boolean => count().some((value, index) => value > (before[index] ?? 0))
    await until(() => !isMore(), PATIENCE).catch(() => {
      throw new Error(`files and rules were ${before}, and are ${count()}`)
    })
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hosts[Symbol.asyncDispose]()
  }
}

/** What went wrong. */
export function errorsOf({ socketErrors, non2xx }: WrkResult): number {
  return Object.values(socketErrors).reduce((sum, count) => sum + count, non2xx)
}

async function startProcess(host: Host, file: string, ...options: string[]): Promise<HostProcess> {
  const started = host.spawn([process.execPath, command, 'gateway', '-c', file, ...options])
  await started.line(/"event":"ready"/)
  return started
}
