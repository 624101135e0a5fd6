/** The check of tunnels, in network namespaces of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inNetworkNamespace } from '@xoffload/linux'
import type { Examined, Result } from '../../src/doctor/check.ts'
import { tunnelCheck } from '../../src/doctor/checks/tunnel.ts'
import { gatewayConfig, serverConfig } from '../doctor/support.ts'

/** Of the tunnel's end, on the loopback device: it is up at once. */
const ADDRESS = '192.0.2.100'
let namespace: string
let folder: string
let count = 0

function ip(...args: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(['ip', '-n', namespace, ...args])
  if (!success) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
  return stdout.toString()
}

const inside = <Value>(call: () => Value): Value => inNetworkNamespace(`/run/netns/${namespace}`, call)

beforeEach(() => {
  namespace = `xodoctor${process.pid}n${count++}`
  folder = mkdtempSync(join(tmpdir(), 'xoffload-doctor-'))
  Bun.spawnSync(['ip', 'netns', 'add', namespace])
  ip('link', 'set', 'lo', 'up')
  ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1')
  ip('link', 'set', 'eth0', 'up')
  ip('address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  ip('address', 'add', `${ADDRESS}/32`, 'dev', 'lo')
})
afterEach(() => {
  Bun.spawnSync(['ip', 'netns', 'delete', namespace])
  rmSync(folder, { recursive: true })
})

const check = (examined: Examined): Result | undefined => inside(() => tunnelCheck.run(examined) as Result | undefined)

describe('at a server', () => {
  const vxlan = { mode: 'vxlan', address: ADDRESS }

  async function result(tunnel: object): Promise<Result | undefined> {
    return check({ role: 'server', config: await serverConfig(folder, { config: { device: 'eth0', tunnel } }) })
  }

  test('that has none there is nothing to say', async () => {
    expect(check({ role: 'server', config: await serverConfig(folder) })).toBeUndefined()
    expect(check({ role: 'server' })).toBeUndefined()
  })

  test('it can end, and nothing is left of the trial', async () => {
    const before = ip('-oneline', 'link')
    expect(await result(vxlan)).toEqual({ status: 'ok', text: expect.stringContaining('must let in UDP port 4789') })
    expect(ip('-oneline', 'link')).toBe(before)
  })

  test('the address must be its own', async () => {
    const text = expect.stringContaining('192.0.2.9 is on no device that is up')
    expect(await result({ ...vxlan, address: '192.0.2.9' })).toEqual({ status: 'failed', text })
  })

  test("the device of an agent, or somebody's, is named", async () => {
    ip('link', 'add', 'xoffload0', 'type', 'vxlan', 'id', '1', 'dstport', '4789')
    const text = expect.stringContaining('xoffload0 is there already: fine while an agent runs')
    expect(await result(vxlan)).toEqual({ status: 'warning', text })
  })

  test('another device that takes the same packets is a failure', async () => {
    const other = ['other', 'type', 'vxlan', 'id', '1', 'dstport', '4789', 'local', ADDRESS, 'udp6zerocsumrx']
    ip('link', 'add', ...other)
    const text = expect.stringContaining('another device takes the same packets')
    expect(await result(vxlan)).toEqual({ status: 'failed', text })
    expect(await result({ ...vxlan, identifier: 2 })).toMatchObject({ status: 'ok' })
  })

  test('another device with the same port and other settings is a failure', async () => {
    ip('link', 'add', 'other', 'type', 'vxlan', 'id', '2', 'dstport', '4789', 'local', ADDRESS)
    ip('link', 'set', 'other', 'up')
    const text = expect.stringContaining('"ip -details link show type vxlan"')
    expect(await result(vxlan)).toEqual({ status: 'failed', text })
    expect(await result({ ...vxlan, port: 4790 })).toMatchObject({ status: 'ok' })
  })

  test('a program that has the UDP port is a failure', async () => {
    const socket = await inside(() => Bun.udpSocket({ hostname: '0.0.0.0', port: 4789 }))
    try {
      const text = expect.stringContaining('UDP port 4789 is taken')
      expect(await result(vxlan)).toEqual({ status: 'failed', text })
      expect(ip('-oneline', 'link')).not.toContain('xodoctor')
    } finally {
      socket.close()
    }
  })
})

describe('at a gateway', () => {
  async function result(config: object = {}): Promise<Result | undefined> {
    const servers = [{ name: 'far', control: '198.51.100.7:7900', tunnel: 'vxlan' }]
    const found = await gatewayConfig(folder, { config: { device: 'eth0', servers, ...config } })
    return check({ role: 'gateway', config: found })
  }

  test('without servers behind tunnels there is nothing to say', async () => {
    expect(await result({ servers: [{ name: 'near', control: '192.0.2.7:7900' }] })).toBeUndefined()
  })

  test('there must be a way to the server', async () => {
    expect(await result()).toEqual({ status: 'failed', text: expect.stringContaining('there is no way to far') })
  })

  test('that takes what clients may send is in order', async () => {
    ip('route', 'add', '198.51.100.0/24', 'via', '192.0.2.7')
    expect(await result()).toEqual({
      status: 'ok',
      text: 'the way to far takes packets of 1500 bytes, with vxlan around them',
    })
  })

  test('a narrower way is a warning that says what to do', async () => {
    ip('route', 'add', '198.51.100.0/24', 'via', '192.0.2.7', 'mtu', '1400')
    expect(await result()).toEqual({
      status: 'warning',
      text: expect.stringContaining('takes packets of 1400 bytes'),
    })
  })

  test('nginx needs routes that say the size of segments', async () => {
    ip('route', 'add', '198.51.100.0/24', 'via', '192.0.2.7')
    const text = expect.stringContaining('advmss 1390 (IPv6: 1370)')
    expect(await result({ nginx: { socket: join(folder, 'nginx.sock') } })).toEqual({ status: 'ok', text })
  })
})
