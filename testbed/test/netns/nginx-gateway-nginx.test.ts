// Stock nginx in front and stock nginx as the servers: what clients get is what one plain nginx says, byte by byte.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ports } from '../../src/deployment/configuration.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { NginxGateway } from '../../src/deployment/nginx-gateway.ts'
import { buildNginxModule } from '../../src/deployment/nginx-module.ts'
import { wrk } from '../../src/peers/wrk.ts'
import { eventually } from './adopting-nginx.ts'
import { errorsOf } from './nginx-gateway-hosts.ts'
import { exchanges, http, malformed, server } from './nginx-requests.ts'
import { NginxHosts } from './preload-hosts.ts'

setDefaultTimeout(120_000)
beforeAll(() => buildNginxModule(), 300_000)

const SERVERS = ['server1', 'server2']
/** Refused by whichever nginx reads it first. */
const TOO_LONG = 'a long target'
const moved = exchanges.filter(([name]) => name !== TOO_LONG)
/** HTTP/0.9 is not among them: nginx as a proxy makes something else of it. */
const others = [
  ...exchanges.filter(([name]) => name === TOO_LONG),
  ...malformed.filter(([name]) => name !== 'HTTP/0.9'),
]

/** nginx on every host, and the one in front. */
async function start(every?: number): Promise<{ readonly hosts: NginxHosts; readonly front: NginxGateway }> {
  const hosts = await NginxHosts.start({
    servers: SERVERS,
    http,
    server,
    ...(every !== undefined && { every }),
    prepareGateway: async (host, file) => {
      const nginx = NginxGateway.prepare(host)
      editConfiguration(file, (config) => Object.assign(config, { nginx }))
    },
  })
  const { service } = hosts.testbed
  const front = await NginxGateway.start(hosts.testbed.host('gateway'), {
    listen: [service?.ipv4 ?? '', service?.ipv6 ?? ''].map((address) => ({ address, port: ports.service })),
    upstreams: SERVERS.map((name) => `${hosts.testbed.host(name).ipv4}:${ports.service}`),
    // What becomes of uploads that are too large is for the servers to say.
    http: [...http, 'client_max_body_size 0;'],
    workers: 1,
  })
  return { hosts, front }
}

describe.each([
  ['never', undefined],
  ['before every request', 1],
])('moved %s', (_, every) => {
  let hosts: NginxHosts
  let front: NginxGateway
  beforeAll(async () => {
    ;({ hosts, front } = await start(every))
    // The worker connects to the gateway process when it has the first connection to give.
    await hosts.curl(`${hosts.url}/empty`)
  }, 120_000)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  test.each(moved)('%s', async (_name, sent) => {
    const before = hosts.handoffs.length
    const [expected, answer] = await hosts.answers(sent)
    expect(answer).toBe(expected)
    await eventually(() => hosts.handoffs.length > before)
  })

  test.each(others)('not as usual: %s', async (_name, sent) => {
    const [expected, answer] = await hosts.answers(sent)
    expect(answer).toBe(expected)
  })

  test('a large file and an upload with curl', async () => {
    const upload = join(hosts.client.directory, 'upload')
    writeFileSync(upload, Buffer.alloc(900_000, 'What goes up is what comes down. '))
    const ask = (address: string) =>
      hosts.curl(...exchange(address, '/1m'), '--next', ...exchange(address, '/put/whole', '--upload-file', upload))
    const expected = await ask(hosts.plain)
    expect(await hosts.leavesNothing(() => ask(hosts.address))).toBe(expected)
  })

  test('wrk sees no error, and nothing is left', async () => {
    await hosts.leavesNothing(async () => {
      for (const path of ['/1k', '/1m']) {
        const load = { url: `${hosts.url}${path}`, duration: 2, connections: 16, timeout: 20 }
        const result = await wrk(hosts.client, load)
        expect([result.requests > 50, errorsOf(result)]).toEqual([true, 0])
      }
      await eventually(async () => Object.values(await hosts.connections()).every((count) => count === 0))
    })
    expect(hosts.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
    expect(front.complaints).toEqual([])
  })
})

function exchange(address: string, path: string, ...options: string[]): string[] {
  return ['--resolve', `test:80:${address}`, '--include', ...options, `http://test${path}`]
}
