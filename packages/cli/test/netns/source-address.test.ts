/** What a gateway's packets to its servers come from, in network namespaces of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inNetworkNamespace } from '@xoffload/linux'
import { sourceProblem } from '../../src/runtime/source-address.ts'
import { gatewayConfig } from '../doctor/support.ts'

const xoffload = join(import.meta.dir, '../../src/bin.ts')
let namespace: string
let count = 0

function run(...command: string[]): void {
  const { success, stderr } = Bun.spawnSync(command)
  if (!success) throw new Error(`${command.join(' ')}: ${stderr}`)
}

const ip = (...words: string[]) => run('ip', '-n', namespace, ...words)
const addAddress = (...words: string[]) => ip('address', 'add', ...words, 'dev', 'eth0')

beforeEach(() => {
  namespace = `xosource${process.pid}n${count++}`
  run('ip', 'netns', 'add', namespace)
  ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1')
  for (const device of ['lo', 'eth0', 'eth1']) ip('link', 'set', device, 'up')
})
afterEach(() => run('ip', 'netns', 'delete', namespace))

describe.each([
  { service: '192.0.2.10', subnet: 24, own: '192.0.2.1', alone: ['192.0.2.10/32'], server: '192.0.2.11' },
  {
    service: '2001:db8::10',
    subnet: 64,
    own: '2001:db8::1',
    alone: ['2001:db8::10/128', 'preferred_lft', '0'],
    server: '2001:db8::11',
  },
])('$service', ({ service, subnet, own, alone, server }) => {
  const problem = () =>
    inNetworkNamespace(`/run/netns/${namespace}`, () => sourceProblem(server, [{ address: service, port: 80 }]))

  test('as the only address of the host is no source', () => {
    addAddress(`${service}/${subnet}`, 'nodad')
    expect(problem()).toContain(`come from the service address ${service}`)
  })

  test('does no harm when it is given as the message says', () => {
    addAddress(`${own}/${subnet}`, 'nodad')
    addAddress(...alone, 'nodad')
    expect(problem()).toBeUndefined()
  })

  test('does no harm when nothing leads to the server', () => {
    expect(problem()).toBeUndefined()
  })
})

describe('a gateway with nothing but the service address', () => {
  let folder: string
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'xoffload-source-'))
    addAddress('192.0.2.10/24')
    const servers = [{ name: 'server1', control: '192.0.2.11:7900' }]
    await gatewayConfig(folder, { config: { device: 'eth0', service: { address: '192.0.2.10', port: 80 }, servers } })
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  function start(...words: string[]) {
    const command = ['ip', 'netns', 'exec', namespace, process.execPath, xoffload, ...words]
    return Bun.spawn([...command, '-c', join(folder, 'xoffload.json')], { stdout: 'pipe', stderr: 'inherit' })
  }

  test('is told by the doctor', async () => {
    const doctor = start('doctor', 'gateway')
    expect(await doctor.stdout.text()).toMatch(/^failed +servers +.*as 192\.0\.2\.10\/32$/m)
    expect(await doctor.exited).toBe(1)
  })

  test('says so in the log', async () => {
    const gateway = start('gateway')
    let said = ''
    for await (const chunk of gateway.stdout.pipeThrough(new TextDecoderStream())) {
      said += chunk
      if (said.includes('server-unavailable')) break
    }
    gateway.kill()
    expect(said).toMatch(/"event":"server-unavailable","server":"server1","reason":".*as 192\.0\.2\.10\/32"/)
    expect(await gateway.exited).toBe(0)
  })
})
