import { expect } from 'bun:test'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { callControlApi } from '../../src/deployment/control-api.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { type HandoffRecord, parseHandoff } from '../../src/deployment/handoff-log.ts'
import { startGateway, startServer } from '../../src/deployment/programs.ts'
import type { Host } from '../../src/host.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { openFiles, ruleCount } from '../../src/inspect.ts'
import type { ScriptReport, Step } from '../../src/soak/scripted-client.ts'
import { Testbed } from '../../src/testbed.ts'
import { tool } from '../../src/tools.ts'

const scriptedClient = join(import.meta.dir, '../../src/soak/scripted-client.ts')
const application = join(import.meta.dir, '../../src/soak/application.ts')
/** How long what is to happen may take, in milliseconds. */
const TIMEOUT = 10_000

export interface MovingHostsOptions {
  readonly servers: readonly string[]
  /** The table `moves` of a server's configuration. `directory` is for its files. */
  readonly moves?: (server: string, directory: string) => object
  /** The table `selection` of the gateway's configuration. */
  readonly selection?: (directory: string) => object
  /** The table `redirector` of the gateway's configuration. */
  readonly redirector?: object
  /** Starts the gateway with its configuration file. Default: the `xoffload` command. */
  readonly startGateway?: (host: Host, file: string) => Promise<HostProcess>
}

/** A gateway with its control API, servers with the soak's application, and a client host. */
export class MovingHosts implements AsyncDisposable {
  readonly testbed: Testbed
  /** The gateway's process: of several the last. */
  gateway: HostProcess
  /** The gateway's configuration file. */
  readonly gatewayFile: string
  readonly servers: readonly HostProcess[]
  readonly #socket: string
  readonly #handoffs: HandoffRecord[] = []

  private constructor(
    testbed: Testbed,
    gateway: HostProcess,
    file: string,
    servers: readonly HostProcess[],
    socket: string,
  ) {
    this.testbed = testbed
    this.gateway = gateway
    this.gatewayFile = file
    this.servers = servers
    this.#socket = socket
    this.#watch(gateway)
  }

  static async start({
    servers: names,
    moves,
    selection,
    redirector,
    startGateway: start,
  }: MovingHostsOptions): Promise<MovingHosts> {
    const testbed = await Testbed.create({ hosts: ['client', 'gateway', ...names], service: {} })
    try {
      const host = testbed.host('gateway')
      const hosts = names.map((name) => testbed.host(name))
      if (testbed.service === undefined) throw new Error('no service address')
      const configuration = await Configuration.create(host, hosts, testbed.service)
      const servers: HostProcess[] = []
      for (const server of hosts) {
        const file = await configuration.serverFile(server)
        editConfiguration(file, (config) => {
          Object.assign(config.application as object, { module: application })
          if (moves !== undefined) Object.assign(config, { moves: moves(server.name, server.directory) })
        })
        servers.push(await startServer(server, configuration, file))
      }
      const socket = join(host.directory, 'api.sock')
      const file = await configuration.gatewayFile()
      editConfiguration(file, (config) => {
        Object.assign(config, { api: { listen: `unix:${socket}` } })
        if (redirector !== undefined) Object.assign(config, { redirector })
        if (selection !== undefined) Object.assign(config, { selection: selection(host.directory) })
      })
      const gateway =
        start === undefined ? await startGateway(host, hosts, configuration, file) : await start(host, file)
      return new MovingHosts(testbed, gateway, file, servers, socket)
    } catch (error) {
      await testbed.close()
      throw error
    }
  }

  /** Another process is the gateway from now on. */
  replaceGateway(gateway: HostProcess): void {
    this.gateway = gateway
    this.#watch(gateway)
  }

  /** Resolves when the gateway is connected to every server. */
  async serversUp(): Promise<void> {
    await until(async () => {
      const answer = await this.order('GET', 'servers').catch(() => ({}))
      const { servers = [] } = answer as { servers?: { up: boolean }[] }
      return servers.length === this.servers.length && servers.every(({ up }) => up)
    })
  }

  /** The samples of the gateway's metrics by name and labels. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch('http://gateway/metrics', { unix: this.#socket, keepalive: false })
    const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]))
  }

  get addresses(): { readonly ipv4: string; readonly ipv6: string } {
    if (this.testbed.service === undefined) throw new Error('no service address')
    return this.testbed.service
  }

  /** Starts a scripted client. */
  client(steps: readonly Step[], address = this.addresses.ipv4): ScriptedClient {
    const command = [process.execPath, scriptedClient, address, `${ports.service}`, JSON.stringify(steps)] as const
    return new ScriptedClient(this.testbed.host('client').spawn([...command]))
  }

  /** Calls the control API. */
  order(method: string, path: string, body?: object, signal?: AbortSignal): Promise<unknown> {
    return callControlApi(this.#socket, method, path, {
      ...(body !== undefined && { body }),
      ...(signal !== undefined && { signal }),
    })
  }

  /** Moves a client's connection. */
  move(client: string, server: string, timeout = TIMEOUT, signal?: AbortSignal): Promise<unknown> {
    return this.order('POST', `flows/${encodeURIComponent(this.flow(client))}/move`, { server, timeout }, signal)
  }

  /** Directions and outcomes of the handoffs of a client's connection, the oldest first. */
  handoffs(client: string): string[] {
    return this.#handoffs
      .filter(({ flow }) => flow.startsWith(`${client}>`))
      .map(({ direction = 'gateway-to-server', server, outcome }) => `${direction} ${server} ${outcome}`)
  }

  /** Resolves when so many handoffs of a client's connection are over. */
  async handedOff(client: string, count: number): Promise<void> {
    await until(() => this.handoffs(client).length >= count)
  }

  /** A client's connection in the control API. */
  flow(client: string): string {
    const { ipv4, ipv6 } = this.addresses
    return `${client}-${client.startsWith('[') ? `[${ipv6}]` : ipv4}:${ports.service}`
  }

  /** Connections by server. */
  async connections(): Promise<Record<string, number>> {
    const { servers } = (await this.order('GET', 'servers')) as { servers: { name: string; connections: number }[] }
    return Object.fromEntries(servers.map(({ name, connections }) => [name, connections]))
  }

  /** Whether a server has told the gateway something that it has not read. */
  async hasUnreadControlMessages(): Promise<boolean> {
    const filter = `dport = :${ports.control}`
    const { stdout } = await this.testbed.host('gateway').run([tool('ss'), '-tnH', filter])
    return stdout.split('\n').some((line) => Number(line.split(/\s+/)[1] ?? 0) > 0)
  }

  /** Runs `use` and expects that files and rules are as many as before, once everything had the time to end. */
  async leavesNothing<T>(use: () => Promise<T>): Promise<T> {
    const hosts = this.testbed.hosts.filter(({ name }) => name !== 'client')
    const count = (): number[] => [...[this.gateway, ...this.servers].map(openFiles), ...hosts.map(ruleCount)]
    const before = count()
    const result = await use()
    // Less is no leak: a program may have closed what an earlier test had used.
    const isMore = (): boolean => count().some((value, index) => value > (before[index] ?? 0))
    await until(() => !isMore()).catch(() => expect(count()).toEqual(before))
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.testbed.close()
  }

  #watch({ stdout }: HostProcess): void {
    stdout.onLine((line) => {
      const record = parseHandoff(line)
      if (record !== undefined) this.#handoffs.push(record)
    })
  }
}

/** A client that carries out its steps. */
export class ScriptedClient {
  readonly #program: HostProcess
  /** Its end of the connection. */
  readonly local: Promise<string>

  constructor(program: HostProcess) {
    this.#program = program
    this.local = program.line(/^\{"local"/).then((line) => JSON.parse(line).local)
  }

  /** Resolves when it waits at the step with this index. */
  async reached(step: number): Promise<void> {
    await this.#program.line(new RegExp(`^\\{"reached":${step}\\}`))
  }

  /** Lets it go on. */
  goOn(): void {
    this.#program.signal('SIGUSR2')
  }

  /** What it saw, when it has carried out all. */
  async report(): Promise<ScriptReport> {
    return JSON.parse(await this.#program.line(/^\{"servedBy"/, { timeout: 20_000 }))
  }
}

/** Resolves when the condition holds. Throws when that takes too long. */
export async function until(condition: () => boolean | Promise<boolean>, milliseconds = TIMEOUT): Promise<void> {
  const deadline = performance.now() + milliseconds
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${condition}`)
    await Bun.sleep(5)
  }
}
