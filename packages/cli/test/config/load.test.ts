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

test('the reference has a row for each key, with its default', () => {
  const reference = configReference('gateway')
  expect(reference).toContain('| `servers[].control` | an address and a port to connect to')
  expect(reference).toContain('| `limits.headBytes` | a whole number from 256 to 1048576 | `16384` |')
  expect(reference).toContain('| `name` | a host name')
  for (const limit of Object.keys(gatewaySchema.properties.limits.properties))
    expect(reference).toContain(`\`limits.${limit}\``)
  expect(configReference('server')).toContain('| `control.gateways[]` | a host name')
})
