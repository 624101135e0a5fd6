import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { type Host, haproxy, nginxProxy, Testbed, wrk } from '@xoffload/testbed'

const application = join(import.meta.dir, '../../src/deployment/application.ts')
let testbed: Testbed

/** A server of the demo's application that answers on every address. */
const program = `import { fetch } from ${JSON.stringify(application)}; Bun.serve({ hostname: '::', port: 8080, fetch: (request) => fetch(request).clone() })`

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server1', 'server2'] })
  for (const name of ['server1', 'server2']) {
    const server = testbed.host(name).spawn([process.execPath, '-e', program], { env: { XOFFLOAD_SERVED_BY: name } })
    await server.listening(8080)
  }
})

afterAll(() => testbed.close())

async function servedBy(url: string): Promise<string | undefined> {
  const { stdout } = await testbed.host('client').run(['curl', '-sS', '-g', '-D', '-', '-o', '/dev/null', url])
  return /^x-served-by: (\S+)/im.exec(stdout)?.[1]
}

/** How many connections a host has accepted. */
async function passiveOpens(host: Host): Promise<number> {
  const { stdout } = await host.run(['cat', '/proc/net/snmp'])
  return Number(/^Tcp: .*\nTcp: (?:\S+ ){5}(\d+)/m.exec(stdout)?.[1])
}

describe('nginxProxy', () => {
  test('takes the servers in turn, on IPv4 and IPv6', async () => {
    const gateway = testbed.host('gateway')
    const upstreams = ['server1', 'server2'].map((name) => ({ address: testbed.host(name).ipv6, port: 8080 }))
    const listen = [gateway.ipv4, gateway.ipv6].map((address) => ({ address, port: 80 }))
    await using nginx = await nginxProxy(gateway, { listen, upstreams })
    const seen = new Set<string | undefined>()
    for (let count = 0; count < 16; count += 1) seen.add(await servedBy(`http://${gateway.ipv4}/bytes/100`))
    expect(seen).toEqual(new Set(['server1', 'server2']))
    expect(await servedBy(`http://[${gateway.ipv6}]/bytes/100`)).toMatch(/^server[12]$/)
    expect(nginx.running).toBe(true)
  })

  test('keeps its connections to the servers open', async () => {
    const [gateway, server] = [testbed.host('gateway'), testbed.host('server1')]
    const endpoint = { address: gateway.ipv4, port: 81 }
    await using _nginx = await nginxProxy(gateway, {
      listen: [endpoint],
      upstreams: [{ address: server.ipv4, port: 8080 }],
    })
    const before = await passiveOpens(server)
    const result = await wrk(testbed.host('client'), {
      url: `http://${gateway.ipv4}:81/bytes/10`,
      duration: 1,
      connections: 4,
    })
    expect(result.requests).toBeGreaterThan(500)
    expect((await passiveOpens(server)) - before).toBeLessThan(100)
  })

  test('fails with the words of nginx', async () => {
    const gateway = testbed.host('gateway')
    const options = { listen: [{ address: gateway.ipv4, port: 82 }], upstreams: [{ address: '10.77.0.3', port: 8080 }] }
    await expect(nginxProxy(gateway, { ...options, http: ['no_such_directive;'] })).rejects.toThrow(
      /ended with exit code 1 before it listened on port 82: .*unknown directive "no_such_directive"/,
    )
  })
})

describe('haproxy', () => {
  test('takes the servers in turn, on IPv4 and IPv6, and keeps its connections to them open', async () => {
    const [gateway, server] = [testbed.host('gateway'), testbed.host('server1')]
    const upstreams = ['server1', 'server2'].map((name) => ({ address: testbed.host(name).ipv6, port: 8080 }))
    const listen = [gateway.ipv4, gateway.ipv6].map((address) => ({ address, port: 83 }))
    await using proxy = await haproxy(gateway, { listen, upstreams })
    const before = await passiveOpens(server)
    const seen = new Set<string | undefined>()
    for (let count = 0; count < 20; count += 1) seen.add(await servedBy(`http://${gateway.ipv4}:83/bytes/100`))
    expect(seen).toEqual(new Set(['server1', 'server2']))
    expect(await servedBy(`http://[${gateway.ipv6}]:83/bytes/100`)).toMatch(/^server[12]$/)
    // One for each thread, and not one for each client.
    expect((await passiveOpens(server)) - before).toBeLessThan(10)
    expect(proxy.running).toBe(true)
  })

  test('fails with the words of HAProxy', async () => {
    const gateway = testbed.host('gateway')
    const options = { listen: [{ address: gateway.ipv4, port: 84 }], upstreams: [{ address: '10.77.0.3', port: 8080 }] }
    await expect(haproxy(gateway, { ...options, defaults: ['no-such-directive'] })).rejects.toThrow(
      /ended with exit code 1 before it listened on port 84: [\s\S]*unknown keyword 'no-such-directive'/,
    )
  })
})

describe('wrk', () => {
  test('measures', async () => {
    const url = `http://${testbed.host('server1').ipv4}:8080/bytes/5000`
    const result = await wrk(testbed.host('client'), { url, duration: 1, connections: 3 })
    expect(result.requests).toBeGreaterThan(100)
    expect(result.bytes / result.requests).toBeGreaterThan(5000)
    expect(result.bytes / result.requests).toBeLessThan(5500)
    expect(result.requestsPerSecond).toBeCloseTo((result.requests * 1e6) / result.duration, 5)
    expect(result.duration).toBeGreaterThan(900_000)
    expect(result.p50).toBeGreaterThan(0)
    expect(result.p90).toBeGreaterThanOrEqual(result.p50)
    expect(result.p99).toBeGreaterThanOrEqual(result.p90)
    expect(result.max).toBeGreaterThanOrEqual(result.p99)
    expect(result.socketErrors).toEqual({ connect: 0, read: 0, write: 0, timeout: 0 })
    expect(result.non2xx).toBe(0)
    expect(result.cpuSeconds).toBeGreaterThan(0)
  })

  test('asks several addresses in turn', async () => {
    const servers = ['server1', 'server2'].map((name) => testbed.host(name))
    const before = await Promise.all(servers.map(passiveOpens))
    const options = { duration: 1, connections: 8, threads: 4 }
    const addresses = servers.map(({ ipv4 }) => ({ address: ipv4, port: 8080 }))
    const url = `http://${servers[0]?.ipv4}:8080/bytes/10`
    const { non2xx } = await wrk(testbed.host('client'), { ...options, url, addresses })
    expect(non2xx).toBe(0)
    const opened = (await Promise.all(servers.map(passiveOpens))).map((count, index) => count - (before[index] ?? 0))
    // wrk tries the address of the URL once before.
    for (const count of opened) expect(count).toBeWithin(4, 8)
  })

  test('counts responses with an error status', async () => {
    const url = `http://${testbed.host('server1').ipv4}:8080/nothing`
    const result = await wrk(testbed.host('client'), { url, duration: 1, connections: 1 })
    expect(result.non2xx).toBe(result.requests)
    expect(result.requests).toBeGreaterThan(0)
  })

  test('says when nothing listens', async () => {
    const url = `http://${testbed.host('server1').ipv4}:9/`
    await expect(wrk(testbed.host('client'), { url, duration: 1, connections: 1 })).rejects.toThrow(/unable to connect/)
  })
})
