/** Gateway and server agent as an ordinary user with the capabilities of the systemd units, and what the doctor says without one. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import type { ServiceAddress } from '../../src/address-plan.ts'
import { Configuration } from '../../src/deployment/configuration.ts'
import { parseHandoff } from '../../src/deployment/handoff-log.ts'
import { command } from '../../src/deployment/programs.ts'
import type { Host } from '../../src/host.ts'
import { Testbed } from '../../src/testbed.ts'
import { OrdinaryUser, unitCapabilities } from './ordinary-user.ts'

const TIMEOUT = 30_000
const roles = ['gateway', 'server'] as const
type Role = (typeof roles)[number]

let testbed: Testbed
let user: OrdinaryUser
let service: ServiceAddress
const files = new Map<Role, string>()

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server'], service: {} })
  if (testbed.service === undefined) throw new Error('no service address')
  service = testbed.service
  const configuration = await Configuration.create(testbed.host('gateway'), [testbed.host('server')], service)
  files.set('gateway', await configuration.gatewayFile())
  files.set('server', await configuration.serverFile(testbed.host('server')))
  user = new OrdinaryUser(testbed)
}, TIMEOUT)

afterAll(async () => {
  user?.[Symbol.dispose]()
  await testbed?.close()
})

function start(role: Role) {
  const words = [process.execPath, command, role, '-c', files.get(role) ?? '']
  return testbed.host(role).spawn(user.with(unitCapabilities(role), words), { env: { XOFFLOAD_SERVED_BY: role } })
}

interface Finding {
  readonly check: string
  readonly status: string
  readonly text: string
}

async function doctor(role: Role, capabilities: readonly string[]) {
  const words = [process.execPath, command, 'doctor', role, '-c', files.get(role) ?? '', '--json']
  const result = await testbed.host(role).run(user.with(capabilities, words), { allowFailure: true, timeout: 20_000 })
  const findings: Finding[] = result.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return { ...result, findings, of: (check: string) => findings.find((finding) => finding.check === check) }
}

/** The places whose programs are pinned. The kernel itself puts other files into a bpffs (CONFIG_BPF_PRELOAD). */
function pinned(): string[] {
  return readdirSync(user.pins).filter((name) => name.startsWith('net'))
}

/** What is set on a host: devices, addresses, qdiscs, filters, neighbours' settings. */
async function state(host: Host): Promise<string> {
  const script = `
    ip -o link; ip -o address; ip rule; tc qdisc show
    for hook in ingress egress; do tc filter show dev eth0 $hook; done
    cd /proc/sys/net/ipv4; grep -r . conf/eth0 conf/all tcp_timestamps
    ss -Htan state listening`
  return (await host.run(['sh', '-c', script])).stdout
}

test(
  'with the capabilities of the units a connection is handed over, and both give back what they took',
  async () => {
    const before = await Promise.all(roles.map((role) => state(testbed.host(role))))
    const server = start('server')
    await server.line(/"event":"ready"/)
    const gateway = start('gateway')
    await gateway.line(/"event":"server-up"/)
    const { stdout } = await testbed
      .host('client')
      .run([
        'curl',
        '-sS',
        '--fail',
        '--max-time',
        '10',
        '-D',
        '-',
        '-o',
        '/dev/null',
        `http://${service.ipv4}/bytes/1000`,
      ])
    expect(stdout).toMatch(/x-served-by: server/)
    expect(parseHandoff(await gateway.line(/"event":"handoff"/))?.outcome).toBe('handed-off')
    expect(await gateway.stop()).toBe(0)
    expect(await server.stop()).toBe(0)
    for (const { stdout, stderr } of [gateway, server]) {
      expect(stderr.text).toBe('')
      expect(stdout.lines.filter((line) => line.includes('"error"'))).toEqual([])
    }
    expect(await Promise.all(roles.map((role) => state(testbed.host(role))))).toEqual(before)
    expect(pinned()).toEqual([])
  },
  TIMEOUT,
)

test(
  'with them a gateway adopts what one that was killed has left',
  async () => {
    const killed = start('gateway')
    await killed.line(/"event":"ready"/)
    expect(pinned()).toHaveLength(1)
    killed.signal('SIGKILL')
    await killed.exited
    const next = start('gateway')
    await next.line(/"event":"ready"/)
    expect(await next.stop()).toBe(0)
    const found = await testbed.host('gateway').run(['tc', 'filter', 'show', 'dev', 'eth0', 'ingress'])
    expect(found.stdout).toBe('')
    expect(pinned()).toEqual([])
  },
  TIMEOUT,
)

test.each(roles)(
  'the doctor finds a %s with them in order, and changes nothing',
  async (role) => {
    const before = await state(testbed.host(role))
    const { findings, exitCode, of } = await doctor(role, unitCapabilities(role))
    expect(findings.filter(({ status }) => status === 'failed')).toEqual([])
    expect(exitCode).toBe(0)
    expect(of('capabilities')).toMatchObject({ status: 'ok', text: expect.stringContaining('exactly those') })
    expect(of('redirector')?.status).toBe('ok')
    expect(of('tcp-repair')?.status).toBe('ok')
    expect(await state(testbed.host(role))).toBe(before)
  },
  TIMEOUT,
)

test.each(roles.flatMap((role) => unitCapabilities(role).map((name) => [name, role] as const)))(
  'without %s the doctor of a %s names it',
  async (name, role) => {
    const rest = unitCapabilities(role).filter((each) => each !== name)
    const { of, exitCode, stderr } = await doctor(role, rest)
    const finding = of('capabilities')
    expect(finding?.text).toContain(name)
    for (const other of rest) expect(finding?.text).not.toContain(other)
    expect(finding?.status).toMatch(/^(failed|warning)$/)
    expect(exitCode).toBe(finding?.status === 'failed' ? 1 : 0)
    expect(stderr).toBe('')
  },
  TIMEOUT,
)

test(
  'without any the doctor names all, says what fails for the want of them, and goes on to the end',
  async () => {
    const { findings, exitCode, of, stderr } = await doctor('gateway', [])
    expect(exitCode).toBe(1)
    expect(stderr).toBe('')
    for (const name of unitCapabilities('gateway')) expect(of('capabilities')?.text).toContain(name)
    expect(of('tcp-repair')).toMatchObject({ status: 'failed', text: expect.stringContaining('CAP_NET_ADMIN') })
    expect(of('redirector')?.status).toBe('failed')
    expect(findings.at(-1)?.check).toBe('servers')
  },
  TIMEOUT,
)
