/** Checks of what a configuration names: certificates, ports, addresses, servers. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MacAddress } from '@xoffload/core'
import { createAuthority, issueCertificate } from '../../src/certificates/index.ts'
import type { ControlCredentials } from '../../src/control/index.ts'
import { ControlListener, readCredentials } from '../../src/control/index.ts'
import { certificatesCheck } from '../../src/doctor/checks/certificates.ts'
import { descriptorsCheck } from '../../src/doctor/checks/descriptors.ts'
import { deviceCheck } from '../../src/doctor/checks/device.ts'
import { portsCheck } from '../../src/doctor/checks/ports.ts'
import { serversCheck } from '../../src/doctor/checks/servers.ts'
import { serviceAddressCheck } from '../../src/doctor/checks/service-address.ts'
import { helloOf } from '../../src/runtime/hello.ts'
import { authority, type Change, gatewayConfig, resultOf, serverConfig } from './support.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xoffload-doctor-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const DAY = 86_400_000
const ago = (days: number) => new Date(Date.now() - days * DAY)

test('a certificate that is in order', async () => {
  const config = await gatewayConfig(folder)
  expect(await resultOf(certificatesCheck, { role: 'gateway', config })).toMatchObject({
    status: 'ok',
    text: expect.stringMatching(/for own, valid until 2\d{3}-/),
  })
})

test.each<[string, Change, string, RegExp]>([
  ['has expired', { certificate: { notBefore: ago(10), days: 9 } }, 'failed', /has expired on/],
  ['is not valid yet', { certificate: { notBefore: ago(-2) } }, 'failed', /valid from .* only: is the clock right/],
  ['expires soon', { certificate: { days: 7.5 } }, 'warning', /expires in 7 days/],
  ['has a key that everybody can read', { keyMode: 0o644 }, 'failed', /mode is 644; chmod 600 .*own\.key/],
  ['has a key that its group can read', { keyMode: 0o640 }, 'ok', /valid until/],
  ['is of another authority', { signer: await createAuthority('another') }, 'failed', /not signed by the authority/],
])('a certificate that %s', async (_name, change, status, text) => {
  const config = await serverConfig(folder, change)
  const result = await resultOf(certificatesCheck, { role: 'server', config })
  expect(result).toEqual({ status: status as never, text: expect.stringMatching(text) })
})

test('a certificate for another host', async () => {
  const config = await gatewayConfig(folder, { certificate: { name: 'someone-else' } })
  await expect(resultOf(certificatesCheck, { role: 'gateway', config })).rejects.toThrow(/"DNS:someone-else".*"own"/)
})

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['0.0.0.0', '127.0.0.1'],
  ['::1', '::1'],
  ['::', '127.0.0.1'],
])('a listener on %s takes the port of %s', async (hostname, address) => {
  const listener = Bun.listen({ hostname, port: 0, socket: { data() {} } })
  try {
    const config = await gatewayConfig(folder, { config: { service: { address, port: listener.port } } })
    const result = await resultOf(portsCheck, { role: 'gateway', config })
    expect(result).toEqual({
      status: 'warning',
      text: expect.stringMatching(new RegExp(`:${listener.port}, for clients, is taken`)),
    })
  } finally {
    listener.stop()
  }
})

test('a listener on another address leaves the port free', async () => {
  const listener = Bun.listen({ hostname: '127.0.0.2', port: 0, socket: { data() {} } })
  try {
    const config = await gatewayConfig(folder, { config: { service: { address: '127.0.0.1', port: listener.port } } })
    expect(await resultOf(portsCheck, { role: 'gateway', config })).toMatchObject({ status: 'ok' })
  } finally {
    listener.stop()
  }
})

test("with nginx in front the service port is nginx's", async () => {
  const nginx = { socket: '/run/xoffload/nginx.sock', users: [], selection: 'nginx' } as const
  const config = { ...(await gatewayConfig(folder)), nginx }
  expect(await portsCheck.run({ role: 'gateway', config })).toBeUndefined()
})

test('the service address is on the gateway, and on the server on no device but lo', async () => {
  const service = { service: { addresses: ['127.0.0.1', '192.0.2.77'], port: 80 } }
  const gateway = await gatewayConfig(folder, { config: service })
  expect(await resultOf(serviceAddressCheck, { role: 'gateway', config: gateway })).toEqual({
    status: 'failed',
    text: expect.stringMatching(/^192\.0\.2\.77 is on no device/),
  })
  const on = async (address: string) =>
    resultOf(serviceAddressCheck, {
      role: 'server',
      config: await serverConfig(folder, { config: { services: [{ address, port: 80 }] } }),
    })
  expect(await on('192.0.2.77')).toMatchObject({ status: 'ok' })
  expect(await on('127.0.0.1')).toMatchObject({ status: 'warning', text: expect.stringContaining('on lo already') })
})

test('a device that does not exist', async () => {
  const none = await gatewayConfig(folder, { config: { device: 'nosuchdevice0' } })
  expect(await resultOf(deviceCheck, { role: 'gateway', config: none })).toMatchObject({
    status: 'failed',
    text: expect.stringContaining('no device nosuchdevice0'),
  })
})

test('more connections than files can be open', async () => {
  const config = await gatewayConfig(folder, { config: { limits: { connections: 10_000_000 } } })
  const result = await resultOf(descriptorsCheck, { role: 'gateway', config })
  expect(result).toMatchObject({ status: 'warning', text: expect.stringContaining('LimitNOFILE') })
})

test('a server that answers, one that does not know this gateway, one with another certificate, and none', async () => {
  const agent = async (peers: string[], signer = authority) => {
    const pair = await issueCertificate(signer, { name: 'server1' })
    return listener({ ca: authority.certificate, ...pair }, peers)
  }
  const config = await gatewayConfig(folder)
  const credentials = await readCredentials(config.control)
  expect(credentials.ca).toBe(authority.certificate)
  using right = await agent(['own'])
  using stranger = await agent(['other'])
  using forged = await agent(['own'], await createAuthority('forger'))
  const outcomeAt = async (port: number) => {
    const servers = [{ name: 'server1', control: { address: '127.0.0.1', port } }]
    return resultOf(serversCheck, { role: 'gateway', config: { ...config, servers } })
  }
  expect(await outcomeAt(right.port)).toEqual({ status: 'ok', text: expect.stringContaining('answers') })
  expect(await outcomeAt(stranger.port)).toEqual({
    status: 'warning',
    text: expect.stringContaining('control.gateways'),
  })
  expect(await outcomeAt(forged.port)).toEqual({ status: 'warning', text: expect.stringContaining('not accepted') })
  expect(await outcomeAt(1)).toEqual({ status: 'warning', text: expect.stringContaining('does its agent run') })
  // Nobody took it for the gateway itself.
  expect(right.ups).toBe(0)
})

async function listener(credentials: ControlCredentials, peers: string[]) {
  const state = { ups: 0, port: 0, [Symbol.dispose]: () => control.close() }
  const control = new ControlListener({
    listen: { address: '127.0.0.1', port: 0 },
    credentials,
    peers,
    hello: helloOf({ host: 'server1', mac: MacAddress.parse('02:00:00:00:00:01'), maximumHandoffs: 1 }),
    onUp: () => state.ups++,
    onMessage() {},
    onDown() {},
  })
  state.port = control.port
  return state
}
