// A whole installation whose gateway has a virtual NIC: `server1` is on its segment, `server2` behind a router. For tests inside the guest.
import { join } from 'node:path'
import type { ServiceAddress } from '../../../src/address-plan.ts'
import { runTool } from '../../../src/command.ts'
import { Configuration } from '../../../src/deployment/configuration.ts'
import { callControlApi } from '../../../src/deployment/control-api.ts'
import { editConfiguration } from '../../../src/deployment/edit-configuration.ts'
import { configureFarGateway, configureFarServer, moveAway } from '../../../src/deployment/far-server.ts'
import { command } from '../../../src/deployment/programs.ts'
import { type NicCounters, type NicPort, nicCounters } from '../../../src/guest/index.ts'
import type { Host } from '../../../src/host.ts'
import type { HostProcess } from '../../../src/host-process.ts'
import { Testbed } from '../../../src/testbed.ts'

/** Milliseconds that something may take: the guest's processor is emulated. */
export const PATIENCE = { timeout: 120_000 } as const

const gatewaysProgram = join(import.meta.dir, 'gateways-program.ts')
const application = join(import.meta.dir, '../../../src/soak/application.ts')

/** The hosts, their servers, and one gateway process that is given one configuration after the other. */
export class NicDeployment implements AsyncDisposable {
  readonly testbed: Testbed
  readonly service: ServiceAddress
  readonly #gatewayFile: string
  readonly #serverFiles: ReadonlyMap<string, string>
  readonly #gateways: HostProcess
  readonly #agents = new Map<string, HostProcess>()
  /** How many gateways there have been. */
  #started = 0

  private constructor(
    testbed: Testbed,
    service: ServiceAddress,
    gatewayFile: string,
    serverFiles: ReadonlyMap<string, string>,
  ) {
    this.testbed = testbed
    this.service = service
    this.#gatewayFile = gatewayFile
    this.#serverFiles = serverFiles
    this.#gateways = this.host('gateway').spawn([process.execPath, gatewaysProgram, gatewayFile])
    for (const name of serverFiles.keys()) this.#spawnServer(name)
  }

  /** Builds it, with the port as the gateway's device. There is no gateway yet. */
  static async start(port: NicPort): Promise<NicDeployment> {
    // What the gateway lets held packets out through.
    await runTool(['modprobe', 'tun'])
    const testbed = await Testbed.create({ hosts: ['client', 'gateway', 'router', 'server1', 'server2'], service: {} })
    try {
      const { service } = testbed
      if (service === undefined) throw new Error('no service address')
      const [client, gateway, router, near, far] = testbed.hosts as [Host, Host, Host, Host, Host]
      await plugIn(port, gateway, service)
      await moveAway({ far, router, neighbours: [client, gateway] })
      const configuration = await Configuration.create(gateway, [near, far], service)
      const servers = new Map<string, string>()
      for (const server of [near, far]) {
        const file = await configuration.serverFile(server)
        editConfiguration(file, (config) => {
          Object.assign(config.application as object, { module: application })
          config.limits = { preparedTimeout: 2 * PATIENCE.timeout }
        })
        servers.set(server.name, file)
      }
      configureFarServer(servers.get(far.name) ?? '', 'ipip')
      const file = await configuration.gatewayFile()
      configureFarGateway(file, far.name, 'ipip')
      const api = { listen: `unix:${join(gateway.directory, 'api.sock')}` }
      // Else connections are relayed when the guest is slow.
      const limits = { acceptTimeout: PATIENCE.timeout, commitTimeout: PATIENCE.timeout }
      editConfiguration(file, (config) => Object.assign(config, { api, limits }))
      return new NicDeployment(testbed, service, file, servers)
    } catch (error) {
      await testbed.close()
      throw error
    }
  }

  host(name: string): Host {
    return this.testbed.host(name)
  }

  /** Ends the gateway that runs, and starts one with this redirector. Resolves when its servers are connected. */
  async startGateway(redirector: object): Promise<void> {
    const waits = (count: number) => this.#gateways.line(new RegExp(`"waits":${count}}`), PATIENCE)
    await waits(this.#started)
    editConfiguration(this.#gatewayFile, (config) => Object.assign(config, { redirector }))
    this.#gateways.signal('SIGUSR2')
    this.#started += 1
    await waits(this.#started)
    await this.serversUp()
  }

  /** Resolves when the gateway is connected to all servers. */
  async serversUp(): Promise<void> {
    await until(async () => (await this.#servers()).every(({ up }) => up))
  }

  /** Ends the agent of a server. Resolves with its exit code when the gateway knows. */
  async stopServer(name: string): Promise<number | undefined> {
    const code = await this.#agents.get(name)?.stop(PATIENCE)
    await until(async () => (await this.#servers()).some((server) => server.name === name && !server.up))
    return code
  }

  /** Starts the agent of a server whose configuration has changed. */
  async startServer(name: string, change: (file: string) => void): Promise<void> {
    change(this.#serverFiles.get(name) ?? '')
    this.#spawnServer(name)
    await this.serversUp()
  }

  /** Calls the gateway's control API. */
  order(method: string, path: string, body?: object): Promise<unknown> {
    return callControlApi(this.#socket, method, path, body && { body })
  }

  /** A sample of the gateway's metrics, with its labels as they are there. */
  async metric(name: string): Promise<number> {
    const response = await fetch('http://gateway/metrics', { unix: this.#socket, keepalive: false })
    const line = (await response.text()).split('\n').find((each) => each.startsWith(`${name} `))
    return Number(line?.split(' ').at(-1))
  }

  /** What the gateway's NIC has counted. */
  async nicCounters(): Promise<NicCounters> {
    const gateway = this.host('gateway')
    const { stdout } = await gateway.run(['ethtool', '--statistics', gateway.device], PATIENCE)
    return nicCounters(stdout)
  }

  /** What `tc -s` shows of the filters for clients' ports at the gateway: those that there are. */
  async filters(clients: readonly number[]): Promise<{ readonly text: string; readonly bytes: number }[]> {
    const gateway = this.host('gateway')
    const { stdout } = await gateway.run(['tc', '-s', 'filter', 'show', 'dev', gateway.device, 'ingress'], PATIENCE)
    const filters = stdout.split(/(?=^filter )/m)
    return clients.flatMap((client) => {
      const text = filters.find((filter) => filter.includes(`src_port ${client}\n`))
      return text === undefined ? [] : [{ text, bytes: Number(/Sent (\d+) bytes/.exec(text)?.[1]) }]
    })
  }

  async #servers(): Promise<{ readonly name: string; readonly up: boolean }[]> {
    const { servers } = (await this.order('GET', 'servers')) as { servers: { name: string; up: boolean }[] }
    return servers
  }

  get #socket(): string {
    return join(this.host('gateway').directory, 'api.sock')
  }

  #spawnServer(name: string): void {
    const line = [process.execPath, command, 'server', '-c', this.#serverFiles.get(name) ?? ''] as const
    this.#agents.set(name, this.host(name).spawn([...line], { env: { XOFFLOAD_SERVED_BY: name } }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.testbed.close()
  }
}

/** Puts the port in the place of the gateway's device. */
async function plugIn(port: NicPort, gateway: Host, service: ServiceAddress): Promise<void> {
  const bridge = gateway.port
  const ip = (...words: string[]) => runTool(['ip', ...words])
  await ip('-netns', bridge.namespace, 'link', 'delete', bridge.device)
  await ip('link', 'set', port.wire, 'netns', bridge.namespace)
  await ip('link', 'set', port.host, 'netns', gateway.namespace)
  await ip('-netns', bridge.namespace, 'link', 'set', port.wire, 'addrgenmode', 'none', 'master', 'br0', 'up')
  await gateway.ip(
    `link set ${port.host} name ${gateway.device} address ${gateway.mac}`,
    `link set ${gateway.device} up`,
    `addr add ${gateway.ipv4}/24 dev ${gateway.device}`,
    `addr add ${gateway.ipv6}/64 dev ${gateway.device} nodad`,
    `addr add ${service.ipv4}/32 dev ${gateway.device}`,
    `addr add ${service.ipv6}/128 dev ${gateway.device} nodad`,
  )
}

/** Resolves when the condition holds. Throws when that takes too long. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE.timeout
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${PATIENCE.timeout} ms: ${condition}`)
    await Bun.sleep(20)
  }
}
