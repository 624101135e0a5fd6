/** A gateway with each of its redirectors: a connection moves on, and back to the gateway; a crash; another process that takes over. */
import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { attachXdp, BpfObject, inNetworkNamespace, queryXdp, Rtnetlink, type XdpMode } from '@xoffload/linux'
import { command } from '../../src/deployment/programs.ts'
import type { Host } from '../../src/host.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { ruleCount } from '../../src/inspect.ts'
import { namespacePath } from '../../src/network.ts'
import type { Step } from '../../src/soak/scripted-client.ts'
import { MovingHosts, type ScriptedClient, until } from './moving-hosts.ts'

setDefaultTimeout(60_000)

const SERVERS = ['server1', 'server2']
const hybridGateway = join(import.meta.dir, '../../src/deployment/hybrid-gateway.ts')
const passProgram = join(import.meta.dir, '../../bpf/xdp.o')

const ask = (start: number): Step[] => [{ send: [{ kind: 'memory', start, length: 200_000 }] }, { answers: true }]
/** Five requests, and whatever the test does in between. */
const STEPS: readonly Step[] = [
  ...[1, 2, 3, 4].flatMap((start): Step[] => [...ask(start), { signal: true }]),
  ...ask(5),
  { close: 'half' },
  { fin: true },
]

interface Kind {
  readonly name: string
  readonly redirector?: object
  /** Starts a gateway process. */
  readonly start: (host: Host, file: string, ...options: string[]) => Promise<HostProcess>
  /** What is to be on the gateway's device. */
  readonly xdp?: XdpMode
  readonly hardware?: boolean
}

function startProgram(...words: string[]): Kind['start'] {
  return async (host, file, ...options) => {
    const [program = '', ...rest] = words
    const started = host.spawn([process.execPath, program, ...rest, file, ...options])
    await started.line(/"event":"ready"/)
    return started
  }
}

/** Native XDP on a veth device wants a program on the other end. */
async function startWithDriver(host: Host, file: string, ...options: string[]): Promise<HostProcess> {
  inNetworkNamespace(namespacePath(host.port.namespace), () => {
    const index = indexOf(host.port.device)
    if (queryXdp(index) !== undefined) return
    const object = BpfObject.load(readFileSync(passProgram))
    attachXdp(index, object.program('pass'), 'driver')
    object.close()
  })
  return startProgram(command, 'gateway', '-c')(host, file, ...options)
}

const xoffload = startProgram(command, 'gateway', '-c')
const kinds: readonly Kind[] = [
  { name: 'XDP, generic', redirector: { type: 'xdp', mode: 'generic' }, start: xoffload, xdp: 'generic' },
  { name: 'XDP in the driver', redirector: { type: 'xdp', mode: 'driver' }, start: startWithDriver, xdp: 'driver' },
  { name: 'tc and a NIC', start: startProgram(hybridGateway), hardware: true },
]

let hosts: MovingHosts
afterEach(() => hosts?.[Symbol.asyncDispose]())

function indexOf(device: string): number {
  using rtnetlink = new Rtnetlink()
  return rtnetlink.link(device)?.index ?? 0
}

/** The mode of the XDP program on the gateway's device. */
function xdpMode(): XdpMode | undefined {
  const { namespacePath: path, device } = hosts.testbed.host('gateway')
  return inNetworkNamespace(path, () => queryXdp(indexOf(device))?.mode)
}

async function startHosts({ redirector, start }: Kind): Promise<void> {
  hosts = await MovingHosts.start({ servers: SERVERS, startGateway: start, ...(redirector && { redirector }) })
  await hosts.serversUp()
}

/** The server that has the client's connection, undefined when the gateway has it. */
async function serverOf(client: ScriptedClient): Promise<string | undefined> {
  const flow = encodeURIComponent(hosts.flow(await client.local))
  const answer = await hosts.order('GET', `flows/${flow}`).catch(() => ({}))
  return (answer as { server?: string }).server
}

/** Waits until as many flows have a rule in the NIC, which the gateway says. */
async function inHardware(count: number): Promise<void> {
  await until(async () => (await hosts.metrics()).get('xoffload_hardware_rules') === count)
}

/** Lets the client ask once more, and waits until it has its answer and waits again. */
async function goOn(client: ScriptedClient, step: number): Promise<void> {
  client.goOn()
  await client.reached(step)
}

async function noRules(): Promise<void> {
  const counts = (): number[] => ['gateway', ...SERVERS].map((name) => ruleCount(hosts.testbed.host(name)))
  await until(() => counts().every((count) => count === 0), 20_000).catch(() => expect(counts()).toEqual([0, 0, 0]))
}

/** Nothing is left on the gateway's device when its process has ended. */
async function endsClean(): Promise<void> {
  expect(await hosts.gateway.stop({ timeout: 10_000 })).toBe(0)
  const { stdout } = await hosts.testbed.host('gateway').run(['tc', 'filter', 'show', 'dev', 'eth0', 'ingress'])
  expect(stdout).toBe('')
  expect(xdpMode()).toBeUndefined()
}

describe.each(kinds)('$name', (kind) => {
  test('a connection goes to a server, to the other one, back to the gateway, and on', async () => {
    await startHosts(kind)
    expect(xdpMode()).toBe(kind.xdp as XdpMode)
    for (const address of [hosts.addresses.ipv4, hosts.addresses.ipv6]) {
      const client = hosts.client(STEPS, address)
      await client.reached(2)
      const local = await client.local
      const first = (await serverOf(client)) ?? ''
      const second = SERVERS.find((name) => name !== first) ?? ''
      if (kind.hardware) await inHardware(1)
      await goOn(client, 5)
      expect(await hosts.move(local, second)).toMatchObject({ result: 'handed-off' })
      await goOn(client, 8)
      if (kind.hardware) await inHardware(1)
      await hosts.order('POST', `servers/${second}/drain`)
      await until(async () => (await hosts.connections())[second] === 0)
      await hosts.handedOff(local, 3)
      if (kind.hardware) await inHardware(0)
      await goOn(client, 11)
      await hosts.order('DELETE', `servers/${second}/drain`)
      client.goOn()
      expect(await client.report()).toEqual({ servedBy: [first, first, second, first, first] })
      await hosts.handedOff(local, 4)
      expect(hosts.handoffs(local)).toEqual([
        `gateway-to-server ${first} handed-off`,
        `server-to-server ${second} handed-off`,
        'server-to-gateway gateway handed-off',
        `gateway-to-server ${first} handed-off`,
      ])
      await noRules()
    }
    await endsClean()
  })

  test('a gateway that was killed: the connection goes on meanwhile, and moves when the next one has adopted its rule', async () => {
    await startHosts(kind)
    const client = hosts.client(STEPS)
    await client.reached(2)
    const local = await client.local
    const first = (await serverOf(client)) ?? ''
    const second = SERVERS.find((name) => name !== first) ?? ''
    if (kind.hardware) await inHardware(1)
    hosts.gateway.signal('SIGKILL')
    await hosts.gateway.exited
    await goOn(client, 5)
    hosts.replaceGateway(await kind.start(hosts.testbed.host('gateway'), hosts.gatewayFile))
    await hosts.serversUp()
    await hosts.gateway.line(/"event":"rules-adopted".*"count":1/)
    await until(async () => (await serverOf(client)) === first)
    expect(xdpMode()).toBe(kind.xdp as XdpMode)
    await goOn(client, 8)
    expect(await hosts.move(local, second)).toMatchObject({ result: 'handed-off' })
    await goOn(client, 11)
    client.goOn()
    expect(await client.report()).toEqual({ servedBy: [first, first, first, second, second] })
    await noRules()
    await endsClean()
  })

  test('another process takes over', async () => {
    await startHosts(kind)
    const client = hosts.client(STEPS)
    await client.reached(2)
    const local = await client.local
    const first = (await serverOf(client)) ?? ''
    const second = SERVERS.find((name) => name !== first) ?? ''
    if (kind.hardware) await inHardware(1)
    const before = hosts.gateway
    hosts.replaceGateway(await kind.start(hosts.testbed.host('gateway'), hosts.gatewayFile, '--take-over'))
    expect(await before.exited).toBe(0)
    await hosts.serversUp()
    await until(async () => (await serverOf(client)) === first)
    await goOn(client, 5)
    expect(await hosts.move(local, second)).toMatchObject({ result: 'handed-off' })
    await goOn(client, 8)
    await goOn(client, 11)
    client.goOn()
    expect(await client.report()).toEqual({ servedBy: [first, first, second, second, second] })
    await noRules()
    await endsClean()
  })
})
