import { expect, test } from 'bun:test'
import { parseEndpoint } from '../../src/config/endpoint.ts'
import type { GatewayServer } from '../../src/config/index.ts'
import { NginxPeers } from '../../src/gateway/nginx-peers.ts'
import { Server } from '../../src/gateway/server.ts'

/** Servers by name: where their agents are, and where requests are proxied to. */
function peers(servers: Readonly<Record<string, readonly [control: string, proxy?: string]>>): NginxPeers {
  const configured = Object.entries(servers).map(([name, [control, proxy]]): GatewayServer => {
    const server = { name, control: endpoint(control) }
    return proxy === undefined ? server : { ...server, proxy: endpoint(proxy) }
  })
  return new NginxPeers(
    configured,
    configured.map(({ name, proxy }) => new Server(name, proxy)),
  )
}

function endpoint(text: string) {
  const parsed = parseEndpoint(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

const servers = peers({
  app1: ['10.0.0.1:7900', '192.168.0.1:80'],
  app2: ['10.0.0.2:7900'],
  app3: ['[2001:db8::3]:7900', '[2001:db8::3]:80'],
  twin1: ['10.0.0.9:7900'],
  twin2: ['10.0.0.9:7901'],
})

test.each([
  ['its proxy address', '192.168.0.1:80', '192.168.0.1:80', 'app1'],
  ['its proxy address, another server having the name', 'app2:80', '192.168.0.1:80', 'app1'],
  ['its proxy address in another spelling', 'x', '[2001:DB8:0::3]:80', 'app3'],
  ['its name', 'app2', '172.16.0.1:80', 'app2'],
  ['its name with a port', 'app2:8080', '172.16.0.1:8080', 'app2'],
  ['its name, when nginx reaches it at another address', 'app1:80', '172.16.0.1:80', 'app1'],
  ['its control address', '10.0.0.2:1234', '10.0.0.2:1234', 'app2'],
  ['its control address, with the port of the proxy', '10.0.0.1:80', '10.0.0.1:80', 'app1'],
  ['its name, when another has the address too', 'twin2:80', '10.0.0.9:80', 'twin2'],
  ['nothing, at another port of its host', '192.168.0.1:81', '192.168.0.1:81', undefined],
  ['nothing, at another port under its name', 'app1:81', '192.168.0.1:81', undefined],
  ['nothing, when two have the address', '10.0.0.9:80', '10.0.0.9:80', undefined],
  ['nothing, when nobody has it', 'other:80', '10.0.0.3:80', undefined],
  ['nothing, when it is a socket in the file system', 'unix:/run/x', 'unix:/run/x', undefined],
])('nginx means a server by %s', (_, server, address, expected) => {
  expect(servers.find({ server, address })?.name).toBe(expected as string)
})

test('servers with the same proxy address are told apart by their names', () => {
  const same = peers({ one: ['10.0.0.1:7900', '10.0.0.5:80'], two: ['10.0.0.2:7900', '10.0.0.5:80'] })
  expect(same.find({ server: 'two:80', address: '10.0.0.5:80' })?.name).toBe('two')
  expect(same.find({ server: '10.0.0.5:80', address: '10.0.0.5:80' })).toBeUndefined()
})
