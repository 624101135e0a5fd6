import { afterAll, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, loadApiConfig, loadConfig } from '../../src/config/index.ts'
import { ConfigFolder, gatewayToml } from './support.ts'

const folder = new ConfigFolder()
afterAll(() => folder[Symbol.dispose]())
folder.write('token', '0123456789abcdef')

const withApi = (lines: string) => `${gatewayToml}\n[api]\n${lines}\n`
const endpoint =
  'expected "unix:" and the path of a socket, or a loopback address and a port, such as "unix:/run/xoffload/gateway.sock" or "127.0.0.1:7901"'

test.each([
  ['listen = "unix:/run/xoffload/gateway.sock"', { socket: '/run/xoffload/gateway.sock' }],
  ['listen = "unix:api.sock"', { socket: join(folder.path, 'api.sock') }],
  [
    'listen = "127.0.0.1:7901"\ntoken = "token"',
    { listen: { address: '127.0.0.1', port: 7901 }, token: join(folder.path, 'token') },
  ],
  [
    'listen = "[0:0::1]:7901"\ntoken = "token"',
    { listen: { address: '::1', port: 7901 }, token: join(folder.path, 'token') },
  ],
])('the API section %j', async (lines, expected) => {
  const path = folder.write('api.toml', withApi(lines))
  expect((await loadConfig('gateway', path)).api).toEqual(expected)
  expect(await loadApiConfig(path)).toEqual(expected)
})

test('without the section there is no API', async () => {
  const path = folder.write('none.toml', gatewayToml)
  expect((await loadConfig('gateway', path)).api).toBeUndefined()
  expect(await loadApiConfig(path)).toBeUndefined()
})

test.each([
  ['', `api.listen: is missing: ${endpoint}`],
  ['listen = "unix:"', `api.listen: ${endpoint}, found "unix:"`],
  ['listen = "/run/gateway.sock"', `api.listen: ${endpoint}, found "/run/gateway.sock"`],
  ['listen = "localhost:7901"', `api.listen: ${endpoint}, found "localhost:7901"`],
  ['listen = 7901', `api.listen: ${endpoint}, found 7901`],
  ['port = 7901\nlisten = "unix:a"', 'api.port: is no known key here: did you mean "service.port"?'],
  [
    'listen = "10.0.0.1:7901"\ntoken = "token"',
    'api.listen: expected an address of the loopback device (127.0.0.1 or [::1]), because the API is not encrypted, found "10.0.0.1:7901"',
  ],
  [
    'listen = "0.0.0.0:7901"\ntoken = "token"',
    'api.listen: expected an address of the loopback device (127.0.0.1 or [::1]), because the API is not encrypted, found "0.0.0.0:7901"',
  ],
  [
    'listen = "127.0.0.1:7901"',
    'api.token: is missing: expected the path of a file with a token when `listen` is an address',
  ],
  [
    'listen = "127.0.0.1:7901"\ntoken = "nowhere"',
    'api.token: expected a file that can be read, found <folder>/nowhere (there is no such file)',
  ],
  [
    'listen = "unix:a.sock"\ntoken = "token"',
    'api.token: has a meaning only when `listen` is an address, found "unix:a.sock": only the owner of a socket can use it',
  ],
  [`listen = "unix:/${'x'.repeat(99)}"`, 'api.listen: expected a path of at most 99 bytes, found one of 100'],
])('the API section %j is refused', async (lines, problem) => {
  expect(await folder.problems('gateway', withApi(lines))).toEqual([`<folder>/xoffload.toml: ${problem}`])
})

test('where the API is can be read by who may not read the keys, but not from a file with mistakes', async () => {
  const other = new ConfigFolder()
  const path = other.write('gateway.toml', withApi('listen = "unix:/run/api.sock"'))
  rmSync(join(other.path, 'host.key'))
  expect(loadConfig('gateway', path)).rejects.toThrow(ConfigError)
  expect(await loadApiConfig(path)).toEqual({ socket: '/run/api.sock' })
  expect(loadApiConfig(other.write('bad.toml', withApi('listen = "unix:/a"\nlisen = 1')))).rejects.toThrow(ConfigError)
  other[Symbol.dispose]()
})
