// A whole gateway whose device is a port of the virtual NIC, with each hybrid: a live connection goes to a server on the segment, with its
// packets steered by the NIC; through a tunnel (IPIP) to a server behind a router; back to the gateway, and on.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { ports } from '../../../src/deployment/configuration.ts'
import { ControlApiError } from '../../../src/deployment/control-api.ts'
import { configureFarServer, farAddresses, farTunnel } from '../../../src/deployment/far-server.ts'
import { VirtualNic } from '../../../src/guest/index.ts'
import { ruleCount } from '../../../src/inspect.ts'
import type { PlannedRequest } from '../../../src/soak/plan.ts'
import { flowerKinds } from './flower-kinds.ts'
import { KeepAliveClient } from './keep-alive-client.ts'
import { NicDeployment, PATIENCE, until } from './nic-deployment.ts'

/** Of a test, in milliseconds; the guest's processor is emulated. */
const LIMIT = 240_000
setDefaultTimeout(LIMIT)

/** Every flow is worth a rule in hardware as soon as a packet has used its rule in software, and as long as it lives. */
const always = { minimumBytes: 0, minimumAge: 0, minimumPacketsPerSecond: 0, idle: 600_000 }
/**
 * What the configuration permits. Hardware alone is no configuration: it cannot hold packets. Flower in the kernel sees nothing behind XDP.
 * The virtual NIC's driver has no XDP: mode `auto` finds that out, and XDP is generic.
 */
const kinds = [
  { software: 'tc', hardware: 'cx-flower', isNic: true },
  { software: 'tc', hardware: 'agilio', isNic: true },
  { software: 'tc', hardware: 'flower', isNic: false },
  { software: 'xdp', hardware: 'cx-flower', isNic: true },
  { software: 'xdp', hardware: 'agilio', isNic: true },
].map((kind) => ({ ...kind, name: `${kind.software} + ${kind.hardware}` }))

/** Bytes of a body. */
const LONG = 512 * 1024
const SHORT = 100_000
/** Bytes of a packet, at most. */
const FRAME = 1500
/** What else the host hears: SYN and FIN, and each second its servers' control channels. Far less than the frames of a long upload. */
const NEXT_TO_NOTHING = { once: 100, eachSecond: 20 }

const upload = (length: number): PlannedRequest => ({ kind: 'upload', start: 7, length, chunked: false })
const download = (length: number): PlannedRequest => ({ kind: 'memory', start: 9, length })

const resources = new AsyncDisposableStack()
let nic: VirtualNic
let deployment: NicDeployment
beforeAll(async () => {
  nic = resources.use(await VirtualNic.load({ nics: 1, ports: 1 }))
  deployment = resources.use(await NicDeployment.start(nic.port(0)))
}, LIMIT)
afterAll(() => resources.disposeAsync())

/** A client's connection, and what the gateway's operator does with it. */
class Connection implements Disposable {
  readonly client: KeepAliveClient
  readonly #flow: string

  private constructor(client: KeepAliveClient, flow: string) {
    this.client = client
    this.#flow = encodeURIComponent(flow)
  }

  /** One that `server1` has. */
  static async open(family: 'ipv4' | 'ipv6'): Promise<Connection> {
    const deadline = performance.now() + PATIENCE.timeout
    for (;;) {
      const connection = await Connection.#answered(family)
      // The gateway relays one that could not be handed off in time, for as long as it lives.
      if ((await connection.view()) !== undefined || performance.now() > deadline) {
        await connection.moveTo('server1')
        return connection
      }
      connection[Symbol.dispose]()
    }
  }

  /** One whose first request a server has answered. */
  static async #answered(family: 'ipv4' | 'ipv6'): Promise<Connection> {
    const host = deployment.host('client')
    const service = deployment.service[family]
    const client = await KeepAliveClient.connect(host, service, ports.service)
    await client.ask(download(10))
    const literal = (address: string) => (family === 'ipv4' ? address : `[${address}]`)
    const flow = `${literal(host[family])}:${client.port}-${literal(service)}:${ports.service}`
    return new Connection(client, flow)
  }

  /** As the gateway shows it; undefined when the gateway has the connection itself. */
  async view(): Promise<{ readonly server: string; readonly counters: { readonly bytes: number } } | undefined> {
    try {
      return (await deployment.order('GET', `flows/${this.#flow}`)) as never
    } catch (error) {
      if (error instanceof ControlApiError && error.refusal === 'unknown-flow') return undefined
      throw error
    }
  }

  async moveTo(server: string): Promise<void> {
    if ((await this.view())?.server === server) return
    const order = { server, timeout: PATIENCE.timeout }
    expect(await deployment.order('POST', `flows/${this.#flow}/move`, order)).toMatchObject({ result: 'handed-off' })
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]()
  }
}

/** Asks on each connection at once, and expects that this server answers. */
async function ask(connections: readonly Connection[], server: string, ...requests: PlannedRequest[]): Promise<void> {
  const answers = await Promise.all(connections.map(({ client }) => client.ask(...requests)))
  expect(answers.flat()).toEqual(connections.flatMap(() => requests.map(() => server)))
}

/** Waits until so many flows have a rule in hardware: the gateway says so. */
async function hardwareRules(count: number): Promise<void> {
  await until(async () => (await deployment.metric('xoffload_hardware_rules')) === count)
}

/** A flow gets a rule in hardware after its first packet. */
async function intoHardware(connections: readonly Connection[]): Promise<void> {
  await ask(connections, 'server1', download(10))
  await hardwareRules(connections.length)
}

interface Frames {
  /** Those that the NIC has found a rule for. */
  readonly nic: number
  /** Those that it has given to the host. */
  readonly host: number
  /** How long it took. */
  readonly seconds: number
}

/** The frames that have come while `use` ran. */
async function framesOf(use: () => Promise<void>): Promise<Frames> {
  const startedAt = performance.now()
  const before = await deployment.nicCounters()
  await use()
  const after = await deployment.nicCounters()
  expect(after.hw_failed_packets).toBe(before.hw_failed_packets)
  const seconds = (performance.now() - startedAt) / 1000
  return {
    nic: after.hw_packets - before.hw_packets,
    host: after.hw_missed_packets - before.hw_missed_packets,
    seconds,
  }
}

describe.each(kinds)('$name', ({ software, hardware, isNic }) => {
  beforeAll(async () => {
    nic.set({ csum_required: false, ...flowerKinds.find((kind) => kind.name === hardware)?.knobs })
    await deployment.startGateway({ type: software, hardware: { type: hardware, ...always } })
  }, LIMIT)

  test('connections take the hardware to the next server, software through a tunnel, and come back', async () => {
    using ipv4 = await Connection.open('ipv4')
    using ipv6 = await Connection.open('ipv6')
    const both = [ipv4, ipv6]
    await intoHardware(both)
    const frames = await framesOf(async () => {
      await ask(both, 'server1', upload(LONG))
      await ask(both, 'server1', download(LONG), download(10))
    })
    for (const { text, bytes } of await deployment.filters(both.map(({ client }) => client.port))) {
      expect(text).toContain(isNic ? ' in_hw in_hw_count 1' : ' not_in_hw')
      expect(bytes).toBeGreaterThan(LONG)
    }
    for (const connection of both) expect((await connection.view())?.counters.bytes).toBeGreaterThan(LONG)
    if (isNic) {
      expect(frames.nic).toBeGreaterThan((2 * LONG) / FRAME)
      expect(frames.host).toBeLessThan(NEXT_TO_NOTHING.once + frames.seconds * NEXT_TO_NOTHING.eachSecond)
    } else expect(frames.nic).toBe(0)

    for (const connection of both) await connection.moveTo('server2')
    await hardwareRules(0)
    const tunnelled = await framesOf(() => ask(both, 'server2', upload(SHORT), download(SHORT)))
    expect(tunnelled.nic).toBe(0)
    expect(await deployment.filters(both.map(({ client }) => client.port))).toEqual([])

    for (const connection of both) await connection.moveTo('server1')
    await intoHardware(both)
    await deployment.order('POST', 'servers/server1/drain')
    for (const connection of both) await until(async () => (await connection.view()) === undefined)
    await hardwareRules(0)
    expect(await deployment.filters(both.map(({ client }) => client.port))).toEqual([])
    await deployment.order('DELETE', 'servers/server1/drain')
    for (const connection of both) {
      await connection.client.ask(download(SHORT))
      await connection.moveTo('server1')
    }
    await intoHardware(both)
    for (const connection of both) connection[Symbol.dispose]()
    await hardwareRules(0)
  })

  if (!isNic || software !== 'tc') return

  test('a NIC that forgets its rules, and then takes none, does no harm', async () => {
    using before = await Connection.open('ipv4')
    await intoHardware([before])
    nic.reset()
    const forgotten = await framesOf(() => ask([before], 'server1', upload(SHORT), download(SHORT)))
    expect(forgotten.nic).toBe(0)
    expect(forgotten.host).toBeGreaterThan(SHORT / FRAME)
    before[Symbol.dispose]()
    await hardwareRules(0)

    const failures = () => deployment.metric('xoffload_hardware_commands_total{command="insert",result="failed"}')
    const failed = await failures()
    nic.set({ fail_inserts: -1 })
    using refused = await Connection.open('ipv4')
    await ask([refused], 'server1', download(10))
    await until(async () => (await failures()) > failed)
    await ask([refused], 'server1', upload(SHORT), download(SHORT))
    expect(await deployment.metric('xoffload_hardware_rules')).toBe(0)

    nic.set({ fail_inserts: 0 })
    using after = await Connection.open('ipv4')
    // It is left alone for a while after a failure.
    await until(async () => {
      await ask([refused, after], 'server1', download(10))
      return (await deployment.metric('xoffload_hardware_rules')) > 0
    })
    expect((await framesOf(() => ask([after], 'server1', upload(SHORT)))).nic).toBeGreaterThan(SHORT / FRAME)
  })
})

describe('a tunnel (IPIP) that the agent makes', () => {
  beforeAll(() => deployment.startGateway({ type: 'tc' }), LIMIT)

  const links = async (): Promise<string> =>
    (await deployment.host('server2').run(['ip', '-o', 'link'], PATIENCE)).stdout

  test('leaves room for its headers in the segments that clients send', async () => {
    using connection = await Connection.open('ipv4')
    const sockets = ['ss', '-tinH', `sport = :${connection.client.port}`] as const
    const { stdout } = await deployment.host('client').run([...sockets], PATIENCE)
    // 1500 less IPIP over IPv6 (40), IP and TCP (40) and the timestamp option (12).
    expect(Number(/ mss:(\d+)/.exec(stdout)?.[1])).toBe(1500 - 40 - 40 - 12)
  })

  test('goes with the agent; the next one may have it over IPv6', async () => {
    expect(await links()).toContain(farTunnel)
    expect(await deployment.stopServer('server2')).toBe(0)
    expect(await links()).not.toContain(farTunnel)
    await deployment.startServer('server2', (file) => configureFarServer(file, 'ipip', farAddresses.ipv6))
    for (const family of ['ipv4', 'ipv6'] as const) {
      using connection = await Connection.open(family)
      await connection.moveTo('server2')
      await ask([connection], 'server2', upload(SHORT), download(SHORT))
    }
  })
})

test('nothing is left on the gateway, once its connections have ended', async () => {
  await until(() => ruleCount(deployment.host('gateway')) === 0)
})
