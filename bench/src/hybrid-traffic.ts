import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { type FlowCounters, FlowKey, type Redirector, type RuleTable } from '@xoffload/core'
import { Random } from '@xoffload/core/simulation'
import { inNetworkNamespace } from '@xoffload/linux'
import { type Host, TestbedError, tool } from '@xoffload/testbed'
import { UploadConnection } from './hybrid-connection.ts'

/** Of so many short requests one is counted, and all long ones. */
const COUNTED = 16

/** What clients ask for. */
export interface Mixture {
  /** How many of them there are. Each sends one request after the other. */
  readonly clients: number
  /** Bytes of a short and of a long request. */
  readonly short: number
  readonly long: number
  /** Of so many requests of all clients together one is long. */
  readonly longEvery: number
  /** The mean pause of a client between two requests, exponentially distributed, in milliseconds. */
  readonly pause: number
}

/** What is measured: where the rules are put, and who has counted what. */
export interface Subject {
  readonly table: RuleTable
  /** What was counted of the flow since its rule was put, in all. */
  readonly counters: (flow: FlowKey) => Promise<FlowCounters | undefined>
  /** Counts what the NIC did not. */
  readonly software: Redirector
}

export interface TrafficResult {
  readonly seconds: number
  readonly requests: number
  readonly bytes: number
  /** From asking for hold to steer being in force, in microseconds. */
  readonly ruleLatency: number[]
  /** Bytes that the gateway has forwarded, in all and in software; estimated from those that were counted. */
  readonly forwarded: number
  readonly inSoftware: number
}

interface Place {
  readonly client: Host
  readonly gateway: Host
  readonly server: Host
  readonly service: string
  readonly port: number
}

/** A lasting connection that can send a request. */
type Connection = Pick<UploadConnection, 'flow' | 'upload'>

/** Clients on one host whose packets the gateway steers to one server. Each client has a connection for short requests and one for long ones. */
export class Traffic implements AsyncDisposable {
  readonly #place: Place
  readonly #mixture: Mixture
  readonly #short: readonly UploadConnection[]
  readonly #long: LongConnections

  private constructor(place: Place, mixture: Mixture, short: readonly UploadConnection[], long: LongConnections) {
    this.#place = place
    this.#mixture = mixture
    this.#short = short
    this.#long = long
  }

  /** Opens the connections. From then on the client's packets go to the gateway. */
  static async start(place: Place, mixture: Mixture): Promise<Traffic> {
    const { client, gateway, server, service, port } = place
    const reach = (host: Host) =>
      client.ip(`neigh replace ${service} lladdr ${host.mac} dev ${client.device} nud permanent`)
    await reach(server)
    const open = () => inNetworkNamespace(client.namespacePath, () => UploadConnection.open(service, port))
    const short = await Promise.all(Array.from({ length: mixture.clients }, open))
    const long = await LongConnections.open(place, mixture.clients, short[0]?.flow.client.address ?? '')
    await reach(gateway)
    return new Traffic(place, mixture, short, long)
  }

  /** Puts hold for all connections. */
  async hold(table: RuleTable): Promise<void> {
    for (const { flow } of [...this.#short, ...this.#long.connections]) await table.put({ action: 'hold', flow })
  }

  /** Lets all clients send requests for so many milliseconds. */
  async run(subject: Subject, milliseconds: number): Promise<TrafficResult> {
    const result = { requests: 0, bytes: 0, ruleLatency: [] as number[], forwarded: 0, inSoftware: 0 }
    const { short, long, longEvery, pause } = this.#mixture
    const random = new Random(4242)
    let sent = 0
    const start = performance.now()
    const use = async (client: number): Promise<void> => {
      while (performance.now() - start < milliseconds) {
        await Bun.sleep(-Math.log(1 - random.below(1_000_000) / 1_000_000) * pause)
        sent += 1
        const isLong = sent % longEvery === 0
        const connection = (isLong ? this.#long.connections : this.#short)[client] as Connection
        const bytes = isLong ? long : short
        const before = Bun.nanoseconds()
        await this.#move(subject.table, connection.flow, bytes)
        result.ruleLatency.push((Bun.nanoseconds() - before) / 1000)
        await connection.upload(bytes)
        result.requests += 1
        result.bytes += bytes
        // To count costs time itself, and more so where two tables are asked.
        if (!isLong && sent % COUNTED !== 0) continue
        const weight = isLong ? 1 : COUNTED
        const [all, software] = [
          await subject.counters(connection.flow),
          await subject.software.counters(connection.flow),
        ]
        result.forwarded += weight * Number(all?.bytes ?? 0n)
        result.inSoftware += weight * Number(software?.bytes ?? 0n)
      }
    }
    await Promise.all(this.#short.map((_, client) => use(client)))
    return { ...result, seconds: (performance.now() - start) / 1000 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#short) connection.close()
    await this.#long.close()
  }

  /** As at a handoff: the connection is locked, and goes on at its server. */
  async #move(table: RuleTable, flow: FlowKey, expectedBytes: number): Promise<void> {
    const { mac } = this.#place.server
    await table.put({ action: 'hold', flow })
    await table.put({ action: 'steer', flow, target: { mode: 'l2', mac }, expectedBytes })
  }
}

/** Connections for long requests, in a process of their own: the one that puts the rules must have time for them. */
class LongConnections {
  readonly connections: readonly Connection[]
  readonly #child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>()

  private constructor(child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>, flows: readonly FlowKey[]) {
    this.#child = child
    this.connections = flows.map((flow, index) => ({ flow, upload: (bytes) => this.#upload(index, bytes) }))
    child.exited.then(() => {
      for (const { reject } of this.#waiting.values()) reject(new TestbedError('the uploading program has ended'))
    })
  }

  static async open({ client, service, port }: Place, count: number, address: string): Promise<LongConnections> {
    const program = new URL('hybrid-uploader.ts', import.meta.url).pathname
    const inside = [tool('nsenter'), `--net=${client.namespacePath}`, process.execPath, program]
    const command = [tool('setpriv'), '--pdeathsig', 'KILL', '--', ...inside, service, `${port}`, `${count}`]
    const child = Bun.spawn(command, { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' })
    const lines = createInterface({ input: Readable.fromWeb(child.stdout as never) })
    const first = Promise.withResolvers<string>()
    lines.once('line', first.resolve)
    child.exited.then(() => first.reject(new TestbedError('the uploading program has ended')))
    const ports = (await first.promise).split(' ').map(Number)
    const flows = ports.map((each) => FlowKey.of({ address, port: each }, { address: service, port }))
    const connections = new LongConnections(child, flows)
    lines.on('line', (line) => connections.#done(Number(line)))
    return connections
  }

  async close(): Promise<void> {
    this.#child.kill()
    await this.#child.exited
  }

  #upload(index: number, bytes: number): Promise<void> {
    const done = Promise.withResolvers<void>()
    this.#waiting.set(index, done)
    this.#child.stdin.write(`${index} ${bytes}\n`)
    this.#child.stdin.flush()
    return done.promise
  }

  #done(index: number): void {
    this.#waiting.get(index)?.resolve()
    this.#waiting.delete(index)
  }
}
