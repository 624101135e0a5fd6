import { afterAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { configReference, gatewaySchema, loadConfig } from '../../src/config/index.ts'
import { ConfigFolder, gatewayToml, serverToml } from './support.ts'

const folder = new ConfigFolder()
afterAll(() => folder[Symbol.dispose]())

test('a gateway file: endpoints parsed, defaults filled in, paths resolved against the file', async () => {
  const config = await loadConfig('gateway', folder.write('gateway.toml', gatewayToml))
  expect(config).toEqual({
    file: join(folder.path, 'gateway.toml'),
    name: 'gateway',
    device: 'eth0',
    log: 'info',
    service: [{ address: '198.51.100.1', port: 80 }],
    control: {
      ca: join(folder.path, 'ca.crt'),
      certificate: join(folder.path, 'host.crt'),
      key: join(folder.path, 'host.key'),
    },
    servers: [
      { name: 's1', control: { address: '10.0.0.11', port: 7900 }, proxy: { address: '10.0.0.11', port: 8080 } },
      { name: 's2', control: { address: '2001:db8::12', port: 7900 } },
    ],
    selection: { policy: 'round-robin' },
    redirector: { type: 'tc' },
    limits: {
      headBytes: 16_384,
      headTimeout: 10_000,
      connections: 100_000,
      handoffs: 1024,
      flows: 1_048_576,
      snapshotBytes: 35_651_584,
      messages: 200_000,
      acceptTimeout: 2000,
      serverTimeout: 60_000,
      commitTimeout: 5000,
      grace: 1000,
    },
  })
})

test('a server file', async () => {
  const config = await loadConfig('server', folder.write('server.toml', serverToml))
  expect(config).toEqual({
    file: join(folder.path, 'server.toml'),
    name: 's1',
    device: 'eth0',
    log: 'info',
    control: {
      listen: { address: '10.0.0.11', port: 7900 },
      ca: join(folder.path, 'ca.crt'),
      certificate: join(folder.path, 'host.crt'),
      key: join(folder.path, 'host.key'),
      gateways: ['gateway'],
    },
    services: [{ address: '198.51.100.1', port: 80 }],
    application: { module: join(folder.path, 'app.ts'), listen: { address: '10.0.0.11', port: 8080 } },
    moves: {},
    limits: {
      handoffs: 1024,
      flows: 65_536,
      snapshotBytes: 35_651_584,
      offeredBytes: 268_435_456,
      messages: 200_000,
      preparedTimeout: 10_000,
      adoptTimeout: 4000,
    },
  })
})

test('JSON with the same keys gives the same configuration', async () => {
  const toml = await loadConfig('gateway', folder.write('same.toml', gatewayToml))
  const json = await loadConfig('gateway', folder.write('same.json', JSON.stringify(Bun.TOML.parse(gatewayToml))))
  expect({ ...json, file: '' }).toEqual({ ...toml, file: '' })
})

test('two loads do not share their defaults', async () => {
  const path = folder.write('shared.toml', gatewayToml)
  const [first, second] = [await loadConfig('gateway', path), await loadConfig('gateway', path)]
  expect(first.limits).not.toBe(second.limits)
})

test('addresses of both families, in their usual form', async () => {
  const text = gatewayToml.replace('address = "198.51.100.1"', 'addresses = ["198.51.100.1", "2001:DB8:0:0::1"]')
  const { service } = await loadConfig('gateway', folder.write('both.toml', text))
  expect(service).toEqual([
    { address: '198.51.100.1', port: 80 },
    { address: '2001:db8::1', port: 80 },
  ])
})

test.each([
  ['policy = "least-connections"', { policy: 'least-connections' }],
  ['policy = "consistent-hash"\nkey = "path"', { policy: 'consistent-hash', property: 'path' }],
  ['policy = "consistent-hash"\nkey = "client"', { policy: 'consistent-hash', property: 'client' }],
  [
    'policy = "consistent-hash"\nkey = "header:X-Object"',
    { policy: 'consistent-hash', property: { header: 'X-Object' } },
  ],
  ['policy = "consistent-hash"\nkey = "cookie:user"', { policy: 'consistent-hash', property: { cookie: 'user' } }],
  ['policy = "module"\nmodule = "select.ts"', { policy: 'module', module: join(folder.path, 'select.ts') }],
])('selection %j', async (lines, expected) => {
  const { selection } = await loadConfig(
    'gateway',
    folder.write('selection.toml', `${gatewayToml}\n[selection]\n${lines}\n`),
  )
  expect(selection).toEqual(expected as typeof selection)
})

const policy = { minimumBytes: 65_536, minimumAge: 200, minimumPacketsPerSecond: 50, idle: 10_000 }

test.each([
  ['type = "tc"', { type: 'tc' }],
  ['type = "xdp"', { type: 'xdp', mode: 'auto' }],
  ['type = "xdp"\nmode = "generic"', { type: 'xdp', mode: 'generic' }],
  ['hardware = { type = "agilio" }', { type: 'tc', hardware: { type: 'agilio', policy } }],
  [
    'type = "xdp"\n[redirector.hardware]\ntype = "cx-flower"\noutput = "p1"\nvlan = 7\nflows = 100\nidle = 5000',
    {
      type: 'xdp',
      mode: 'auto',
      hardware: { type: 'cx-flower', output: 'p1', vlan: 7, flows: 100, policy: { ...policy, idle: 5000 } },
    },
  ],
])('redirector %j', async (lines, expected) => {
  const { redirector } = await loadConfig(
    'gateway',
    folder.write('redirector.toml', `${gatewayToml}\n[redirector]\n${lines}\n`),
  )
  expect(redirector).toEqual(expected as typeof redirector)
})

test.each([
  [
    'mode = "vxlan"\naddress = "2001:DB8:0::11"',
    { mode: 'vxlan', name: 'xoffload0', local: '2001:db8::11', identifier: 1, port: 4789 },
  ],
  [
    'mode = "vxlan"\naddress = "10.0.0.11"\ndevice = "vx1"\nidentifier = 7\nport = 8472',
    { mode: 'vxlan', name: 'vx1', local: '10.0.0.11', identifier: 7, port: 8472 },
  ],
  ['mode = "ipip"\naddress = "10.0.0.11"', { mode: 'ipip', name: 'xoffload0', local: '10.0.0.11' }],
])('tunnel %j', async (lines, expected) => {
  const { tunnel } = await loadConfig('server', folder.write('tunnel.toml', `${serverToml}\n[tunnel]\n${lines}\n`))
  expect(tunnel).toEqual(expected as NonNullable<typeof tunnel>)
})

test('the reference has a row for each key, with its default', () => {
  const reference = configReference('gateway')
  expect(reference).toContain('| `servers[].control` | an address and a port to connect to')
  expect(reference).toContain('| `limits.headBytes` | a whole number from 256 to 1048576 | `16384` |')
  expect(reference).toContain('| `name` | a host name')
  for (const limit of Object.keys(gatewaySchema.properties.limits.properties))
    expect(reference).toContain(`\`limits.${limit}\``)
  expect(configReference('server')).toContain('| `control.gateways[]` | a host name')
})

test('nginx with its module instead of a module of Bun', async () => {
  const text = serverToml.replace(
    /module = .*\nlisten = .*:8080"/,
    'nginx = { socket = "run/nginx.sock", users = ["33"] }',
  )
  expect((await loadConfig('server', folder.write('nginx.toml', text))).application).toEqual({
    program: { adapter: 'nginx', socket: join(folder.path, 'run/nginx.sock'), users: [33] },
  })
})

test('a server program instead of a module', async () => {
  const preload = 'preload = { socket = "run/nginx.sock", listener = "[::]:80", users = ["root", "33"] }'
  const text = serverToml.replace(/module = .*\nlisten = .*:8080"/, preload)
  expect((await loadConfig('server', folder.write('preload.toml', text))).application).toEqual({
    program: {
      adapter: 'preload',
      socket: join(folder.path, 'run/nginx.sock'),
      listener: { address: '::', port: 80 },
      users: [0, 33],
    },
  })
})

test('nginx in front of the gateway', async () => {
  const load = async (lines: string) =>
    (await loadConfig('gateway', folder.write('nginx.toml', `${gatewayToml}\n[nginx]\n${lines}`))).nginx
  const socket = join(folder.path, 'run/nginx.sock')
  expect(await load('socket = "run/nginx.sock"')).toEqual({ socket, users: [], selection: 'nginx' })
  expect(await load('socket = "run/nginx.sock"\nusers = ["root", "33"]\nselection = "gateway"')).toEqual({
    socket,
    users: [0, 33],
    selection: 'gateway',
  })
})
