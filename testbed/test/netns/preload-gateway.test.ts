// Stock nginx as the servers behind a gateway: what clients get is what plain nginx says, byte by byte, wherever their connections are.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type WrkResult, wrk } from '@xoffload/testbed'
import { eventually, files } from './adopting-nginx.ts'
import { http, server } from './nginx-requests.ts'
import { NginxHosts, waysOfMoving } from './preload-hosts.ts'

const TIMEOUT = 120_000
const SERVERS = ['server1', 'server2', 'server3', 'server4']
/** Bytes of an upload: more than a socket takes at once, and less than nginx refuses. */
const UPLOAD = 900_000

/** What curl is to say behind an answer, and what that looks like: the port of its connection. */
const TELL_PORT = ['--write-out', '\nfrom port %{local_port}\n']
const PORT_LINE = /\nfrom port (\d+)\n/

/** What curl says between two ordinary requests on the same connection. `@upload` is a large file; each starts with the path. */
const requests: readonly (readonly [name: string, path: string, ...options: string[]])[] = [
  ['GET', '/20k'],
  ['a large file', '/1m'],
  ['HEAD', '/1m', '--head'],
  ['POST with a body', '/1k', '--data', 'x=1'],
  ['an upload', '/put/length', '--upload-file', '@upload'],
  ['an upload in chunks', '/put/chunks', '--upload-file', '@upload', '--header', 'Transfer-Encoding: chunked'],
  ['Expect: 100-continue', '/put/expect', '--upload-file', '@upload', '--header', 'Expect: 100-continue'],
  ['a slow upload', '/put/slow', '--upload-file', '@upload', '--limit-rate', '700k'],
  ['a slow reader', '/1m', '--limit-rate', '700k'],
  ['a range', '/1m', '--range', '1000-1999'],
  ['two ranges', '/1k', '--range', '0-9,100-109'],
  ['compression', '/1k', '--header', 'Accept-Encoding: gzip', '--output', '-'],
  ['HTTP/1.0', '/1k', '--http1.0'],
  ['HTTP/1.0 keep-alive', '/1k', '--http1.0', '--header', 'Connection: keep-alive'],
  ['Connection: close', '/1k', '--header', 'Connection: close'],
  ['nothing there', '/none'],
]

function errorsOf({ socketErrors, non2xx }: WrkResult): number {
  return Object.values(socketErrors).reduce((sum, count) => sum + count, non2xx)
}

describe.each(waysOfMoving)('moved %s', (_, every, adapter) => {
  let hosts: NginxHosts
  let upload: string
  let nothingIsLeft: () => Promise<void>
  const uploaded = Buffer.alloc(UPLOAD, 'What goes up is what comes down. ')

  beforeAll(async () => {
    hosts = await NginxHosts.start({
      servers: SERVERS,
      http,
      server,
      adapter,
      ...(every !== undefined && { every }),
    })
    upload = join(hosts.client.directory, 'upload')
    writeFileSync(upload, uploaded)
    nothingIsLeft = hosts.rememberUse()
  }, TIMEOUT)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  function curl(address: string, path: string, options: readonly string[]): Promise<string> {
    const ordinary = (name: string) => ['--resolve', `test:80:${address}`, '--include', `http://test${name}`]
    const meant = options.map((option) => (option === '@upload' ? upload : option))
    return hosts.curl(...ordinary('/empty'), '--next', ...meant, ...ordinary(path), '--next', ...ordinary('/1k'))
  }

  test.concurrent.each([...requests])(
    'curl: %s',
    async (_name, path, ...options) => {
      const [expected = '', answer = ''] = await Promise.all(
        [hosts.plain, hosts.address].map((address) => curl(address, path, [...TELL_PORT, ...options])),
      )
      expect(answer.replace(PORT_LINE, '')).toBe(expected.replace(PORT_LINE, ''))
      const port = PORT_LINE.exec(answer)?.[1]
      await eventually(() => hosts.handoffs.some(({ flow }) => flow.startsWith(`${hosts.client.ipv4}:${port}>`)))
    },
    TIMEOUT,
  )

  test('curl: nothing is left', () => nothingIsLeft())

  test('what was uploaded is whole', () => {
    for (const name of ['length', 'chunks', 'expect', 'slow'])
      expect(hosts.uploads(name).map((bytes) => bytes.equals(uploaded))).toContain(true)
  })

  test(
    'a client that ends its half',
    async () => {
      const sent = 'GET /20k HTTP/1.1\r\nHost: test\r\n\r\n'
      const expected = await hosts.answer(hosts.plain, 'half-close', sent)
      expect(expected.length).toBeGreaterThan(files['/20k'].length)
      expect(await hosts.leavesNothing(() => hosts.answer(hosts.address, 'half-close', sent))).toBe(expected)
    },
    TIMEOUT,
  )

  test(
    'over IPv6',
    async () => {
      const address = `[${hosts.testbed.service?.ipv6}]`
      const expected = await curl(hosts.plain, '/20k', [])
      expect(await hosts.leavesNothing(() => curl(address, '/20k', []))).toBe(expected)
    },
    TIMEOUT,
  )

  test(
    'clients that close in the middle of an answer leave nothing',
    async () => {
      await hosts.leavesNothing(async () => {
        const curl = `curl -sS ${hosts.url}/empty ${hosts.url}/1m ${hosts.url}/1m 2>/dev/null`
        for (let round = 0; round < 5; round++) {
          const { stdout } = await hosts.client.run(['sh', '-c', `${curl} | head -c 100000 | wc -c`])
          expect(stdout.trim()).toBe('100000')
        }
      })
    },
    TIMEOUT,
  )

  test(
    'wrk sees no error, and nothing is left',
    async () => {
      await hosts.leavesNothing(async () => {
        for (const path of ['/1k', '/1m']) {
          const load = { url: `${hosts.url}${path}`, duration: 2, connections: 16, timeout: 20 }
          const result = await wrk(hosts.client, load)
          expect([result.requests > 50, errorsOf(result)]).toEqual([true, 0])
        }
        await eventually(async () => Object.values(await hosts.connections()).every((count) => count === 0))
      })
    },
    TIMEOUT,
  )

  test('connections moved as they should', () => {
    const { length } = hosts.handoffs.filter(({ direction }) => direction === 'server-to-server')
    if (every === undefined) expect(length).toBe(0)
    else expect(length).toBeGreaterThan(2 * requests.length)
    expect(hosts.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
  })
})

describe('a server', () => {
  let hosts: NginxHosts
  beforeAll(async () => {
    hosts = await NginxHosts.start({ servers: ['server1', 'server2'], http: ['keepalive_requests 1000000;'] })
  }, TIMEOUT)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  /** Connections that each keep their server, when all have been handed to one. */
  async function lastingLoad(): Promise<{ readonly result: Promise<WrkResult> }> {
    const connections = 16
    const before = hosts.handoffs.length
    const result = wrk(hosts.client, { url: `${hosts.url}/1k`, duration: 5, connections, timeout: 20 })
    await eventually(() => hosts.handoffs.length >= before + connections)
    return { result }
  }

  test(
    'is drained while its nginx has busy and idle connections, and no client notices',
    async () => {
      await hosts.leavesNothing(async () => {
        const load = wrk(hosts.client, { url: `${hosts.url}/20k`, duration: 4, connections: 32, timeout: 20 })
        const idle = hosts.client.spawn(['sh', '-c', `curl -sS ${hosts.url}/1k --next --rate 12/m ${hosts.url}/1k`])
        await eventually(async () => ((await hosts.connections()).server1 ?? 0) > 8)
        await hosts.order('POST', 'servers/server1/drain', {})
        await eventually(async () => (await hosts.connections()).server1 === 0)
        expect(errorsOf(await load)).toBe(0)
        await hosts.order('DELETE', 'servers/server1/drain')
        await idle.stop()
      })
      expect(hosts.handoffs.some(({ direction, server }) => direction === 'server-to-gateway' && server !== '')).toBe(
        true,
      )
      expect(hosts.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
      expect(hosts.complaints).toEqual([])
    },
    TIMEOUT,
  )

  test(
    'whose agent is killed goes on with its connections, and their ends are told by the next agent',
    async () => {
      const [server] = hosts.servers
      if (server === undefined) throw new Error('no server')
      await hosts.leavesNothing(async () => {
        const load = await lastingLoad()
        server.agent.signal('SIGKILL')
        await server.agent.exited
        await hosts.startAgent(server)
        expect(server.agent.stdout.lines.join('\n')).toMatch(/"connections-found","count":\d/)
        const result = await load.result
        expect([result.requests > 100, errorsOf(result)]).toEqual([true, 0])
        await eventually(async () => (await hosts.connections()).server1 === 0)
      })
    },
    TIMEOUT,
  )

  test(
    'whose agent is stopped and started keeps its connections and its address',
    async () => {
      const [server] = hosts.servers
      if (server === undefined) throw new Error('no server')
      await hosts.leavesNothing(async () => {
        const load = await lastingLoad()
        expect(await server.agent.stop()).toBe(0)
        await hosts.startAgent(server)
        const result = await load.result
        expect([result.requests > 100, errorsOf(result)]).toEqual([true, 0])
        await eventually(async () => (await hosts.connections()).server1 === 0)
      })
      // Nothing is left to serve: it is removed again.
      expect(await server.agent.stop()).toBe(0)
      const { stdout } = await server.host.run(['ip', '-o', 'addr', 'show', 'dev', 'lo'])
      expect(stdout).not.toContain(hosts.address)
      await hosts.startAgent(server)
    },
    TIMEOUT,
  )

  test(
    'whose nginx is down is given no connections',
    async () => {
      const [first] = hosts.servers
      if (first === undefined) throw new Error('no server')
      await first.nginx.stop()
      await first.agent.line(/"server-program-down"/)
      const before = hosts.handoffs.length
      for (let count = 0; count < 4; count++) await hosts.curl(`${hosts.url}/1k`)
      await eventually(() => hosts.handoffs.length >= before + 4)
      const outcomes = hosts.handoffs.slice(before).map(({ server, outcome }) => `${server} ${outcome}`)
      expect(outcomes.sort()).toEqual([
        'server1 rolled-back',
        'server1 rolled-back',
        'server2 handed-off',
        'server2 handed-off',
      ])
    },
    TIMEOUT,
  )
})
