/** SIGKILL of each process that takes part in a handoff, at each step of each direction: what becomes of the connection, and what is left. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { callControlApi } from '../../src/deployment/control-api.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { ruleCount } from '../../src/inspect.ts'
import { ConnectionEnded, HttpClient } from '../../src/kill/client.ts'
import { Testbed } from '../../src/testbed.ts'
import { until } from './moving-hosts.ts'

setDefaultTimeout(60_000)

const program = join(import.meta.dir, '../../src/kill/program.ts')
type HostName = 'gateway' | 'server1' | 'server2'
const HOSTS: readonly HostName[] = ['gateway', 'server1', 'server2']

/** `survived`: at the target. `rolled back`: at the origin, or relayed by the gateway. `lost`: the client was told, by an RST or a FIN. */
type Fate = 'survived' | 'rolled back' | 'lost'

interface Case {
  readonly kill: HostName
  readonly at: string
  readonly fate: Fate
  /** What may become of it too, where both are right. */
  readonly orElse?: Fate
  readonly why?: string
}

const ITS_SOCKET = "the killed process had the connection's only socket"
const WHO_REPORTS_FIRST = 'both servers have it, and the one that reports first to the new gateway goes on with it'

const gatewayToServer: readonly Case[] = [
  { kill: 'gateway', at: 'put:hold', fate: 'lost', why: ITS_SOCKET },
  { kill: 'gateway', at: 'put:silent', fate: 'lost', why: ITS_SOCKET },
  { kill: 'gateway', at: 'send:offer', fate: 'lost', why: ITS_SOCKET },
  { kill: 'gateway', at: 'receive:accept', fate: 'survived' },
  { kill: 'gateway', at: 'put:steer', fate: 'survived' },
  { kill: 'gateway', at: 'send:commit', fate: 'survived' },
  { kill: 'gateway', at: 'receive:committed', fate: 'survived' },
  { kill: 'server1', at: 'receive:offer', fate: 'rolled back' },
  { kill: 'server1', at: 'put:hold', fate: 'rolled back' },
  { kill: 'server1', at: 'send:accept', fate: 'rolled back' },
  { kill: 'server1', at: 'sent:accept', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'receive:commit', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'send:committed', fate: 'lost', why: ITS_SOCKET },
]

const serverToServer: readonly Case[] = [
  { kill: 'gateway', at: 'receive:yield', fate: 'rolled back' },
  { kill: 'gateway', at: 'put:hold', fate: 'rolled back' },
  { kill: 'gateway', at: 'sent:take', fate: 'rolled back' },
  { kill: 'gateway', at: 'receive:offer', fate: 'rolled back' },
  { kill: 'gateway', at: 'receive:accept', fate: 'rolled back', orElse: 'survived', why: WHO_REPORTS_FIRST },
  { kill: 'gateway', at: 'put:steer', fate: 'survived' },
  { kill: 'gateway', at: 'receive:committed', fate: 'survived' },
  { kill: 'gateway', at: 'send:release', fate: 'survived' },
  { kill: 'server1', at: 'send:yield', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'receive:take', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'put:silent', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'sent:offer', fate: 'survived' },
  { kill: 'server1', at: 'receive:release', fate: 'survived' },
  { kill: 'server2', at: 'receive:offer', fate: 'rolled back' },
  { kill: 'server2', at: 'put:hold', fate: 'rolled back' },
  { kill: 'server2', at: 'send:accept', fate: 'rolled back' },
  { kill: 'server2', at: 'receive:commit', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server2', at: 'send:committed', fate: 'lost', why: ITS_SOCKET },
]

const serverToGateway: readonly Case[] = [
  { kill: 'gateway', at: 'put:hold', fate: 'rolled back' },
  { kill: 'gateway', at: 'receive:offer', fate: 'rolled back' },
  { kill: 'gateway', at: 'remove', fate: 'lost', why: ITS_SOCKET },
  { kill: 'gateway', at: 'send:release', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'receive:take', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'put:silent', fate: 'lost', why: ITS_SOCKET },
  { kill: 'server1', at: 'sent:offer', fate: 'survived' },
  { kill: 'server1', at: 'receive:release', fate: 'survived' },
]

let testbed: Testbed
let files: Record<HostName, string>
const table: string[] = []

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', ...HOSTS], service: {} })
  if (testbed.service === undefined) throw new Error('no service address')
  const servers = [testbed.host('server1'), testbed.host('server2')]
  const configuration = await Configuration.create(testbed.host('gateway'), servers, testbed.service)
  const gateway = await configuration.gatewayFile()
  const [server1, server2] = await Promise.all(servers.map((server) => configuration.serverFile(server)))
  files = { gateway, server1: server1 ?? '', server2: server2 ?? '' }
  editConfiguration(gateway, (config) =>
    Object.assign(config, {
      api: { listen: `unix:${apiSocket()}` },
      limits: { acceptTimeout: 1000, commitTimeout: 2000 },
      // The first request goes to server1, and each next one to the other server.
      selection: { policy: 'round-robin' },
    }),
  )
})

afterAll(async () => {
  console.log(table.join('\n'))
  await testbed?.close()
})

function apiSocket(): string {
  return join(testbed.directory, 'api.sock')
}

/** The programs of one case. */
class Deployment {
  readonly programs: Record<HostName, HostProcess>
  readonly #point: Case

  private constructor(programs: Record<HostName, HostProcess>, point: Case) {
    this.programs = programs
    this.#point = point
  }

  static async start(point: Case, moves: object): Promise<Deployment> {
    for (const name of ['server1', 'server2'] as const) {
      editConfiguration(files[name], (config) => Object.assign(config, { moves }))
    }
    const at = (name: HostName): string => (name === point.kill ? point.at : '')
    const [server1, server2] = await Promise.all([start('server1', at('server1')), start('server2', at('server2'))])
    const gateway = await start('gateway', at('gateway'))
    await serversUp()
    return new Deployment({ gateway, server1, server2 }, point)
  }

  async arm(): Promise<void> {
    const victim = this.programs[this.#point.kill]
    const armed = victim.line(/"armed"/)
    victim.signal('SIGUSR1')
    await armed
  }

  /** Waits until the victim is dead, and starts it again. */
  async revive(): Promise<void> {
    const { kill } = this.#point
    const late = setTimeout(() => this.programs[kill].signal('SIGTERM'), 10_000)
    await this.programs[kill].exited
    clearTimeout(late)
    expect(this.programs[kill].exitReason).toContain('SIGKILL')
    this.programs[kill] = await start(kill, '')
    await serversUp()
  }

  async stop(): Promise<void> {
    for (const each of Object.values(this.programs)) each.signal('SIGKILL')
    await Promise.all(Object.values(this.programs).map((each) => each.exited))
  }
}

async function start(name: HostName, point: string): Promise<HostProcess> {
  const role = name === 'gateway' ? 'gateway' : 'server'
  const started = testbed.host(name).spawn([process.execPath, program, role, files[name], point], {
    env: { XOFFLOAD_SERVED_BY: name },
  })
  await started.line(/"event":"ready"/)
  return started
}

async function serversUp(): Promise<void> {
  await until(async () => {
    const answer = await callControlApi(apiSocket(), 'GET', 'servers').catch(() => ({}))
    const { servers = [] } = answer as { servers?: { up: boolean }[] }
    return servers.length === 2 && servers.every(({ up }) => up)
  })
}

async function noHandoffInFlight(): Promise<void> {
  await until(async () => {
    const { flows } = (await callControlApi(apiSocket(), 'GET', 'flows')) as { flows: { state: string }[] }
    return flows.every(({ state }) => state !== 'moving')
  })
}

async function nothingLeft(): Promise<void> {
  const counts = (): number[] => HOSTS.map((name) => ruleCount(testbed.host(name)))
  await until(() => counts().every((count) => count === 0), 15_000).catch(() => expect(counts()).toEqual([0, 0, 0]))
}

/** Runs a case: `before` brings the connection to where the handoff begins, `trigger` begins it. */
async function run(
  point: Case,
  moves: object,
  steps: { before?: (client: HttpClient) => Promise<void>; trigger: (client: HttpClient) => Promise<void> },
  isAtTarget: (server: string) => boolean,
): Promise<Fate> {
  const deployment = await Deployment.start(point, moves)
  const client = await HttpClient.connect(testbed.host('client'), testbed.service?.ipv4 ?? '', ports.service)
  try {
    await steps.before?.(client)
    // The point is one of the next handoff.
    await noHandoffInFlight()
    await deployment.arm()
    await steps.trigger(client)
    await deployment.revive()
    let fate: Fate
    try {
      const server = await client.response(1000)
      fate = isAtTarget(server) ? 'survived' : 'rolled back'
      // It goes on as before.
      await client.get(2000)
    } catch (error) {
      // One that is left waiting is worse than lost.
      if (!(error instanceof ConnectionEnded) || error.message.startsWith('nothing')) throw error
      fate = 'lost'
    }
    client.close()
    await nothingLeft()
    return fate
  } finally {
    client.close()
    await deployment.stop()
  }
}

const request = 'GET /bytes/1000 HTTP/1.1\r\nHost: x\r\n\r\n'

describe.each([
  {
    direction: 'gateway to server',
    cases: gatewayToServer,
    moves: {},
    steps: { trigger: async (client: HttpClient) => client.write(request) },
    target: 'server1',
  },
  {
    direction: 'server to server',
    cases: serverToServer,
    moves: { requests: 1 },
    steps: {
      before: async (client: HttpClient) => expect(await client.get(10)).toBe('server1') as unknown as undefined,
      trigger: async (client: HttpClient) => client.write(request),
    },
    target: 'server2',
  },
  {
    direction: 'server to gateway',
    cases: serverToGateway,
    moves: {},
    steps: {
      before: async (client: HttpClient) => expect(await client.get(10)).toBe('server1') as unknown as undefined,
      trigger: async (client: HttpClient) => {
        await callControlApi(apiSocket(), 'POST', 'servers/server1/drain')
        await Bun.sleep(300)
        client.write(request)
      },
    },
    target: 'server2',
  },
])('$direction', ({ direction, cases, moves, steps, target }) => {
  test.each([...cases])('$kill killed at $at: $fate', async (point) => {
    const fate = await run(point, moves, steps, (server) => server === target)
    table.push(`${direction} | ${point.kill} | ${point.at} | ${fate}${point.why ? ` | ${point.why}` : ''}`)
    expect([point.fate, point.orElse]).toContain(fate)
  })
})
