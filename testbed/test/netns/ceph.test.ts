// Ceph's object gateway (radosgw), unmodified, as the servers behind a gateway: S3 clients get what a radosgw alone says, wherever their
// connections are.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type WrkResult, wrk } from '@xoffload/testbed'
import { type CurlRequest, comparable, exchanges, statusesOf } from '../../src/ceph/exchanges.ts'
import { type CephInstallation, type CephServer, startCeph } from '../../src/ceph/installation.ts'
import { presign } from '../../src/ceph/presign.ts'
import type { S3ClientOptions, S3ClientReport } from '../../src/ceph/s3-client.ts'
import { callControlApi } from '../../src/deployment/control-api.ts'
import { openFiles, ruleCount } from '../../src/inspect.ts'
import { eventually } from './adopting-nginx.ts'

const TIMEOUT = 120_000
const s3Client = join(import.meta.dir, '../../src/ceph/s3-client.ts')
/** More than a socket takes at once. */
const large = Buffer.alloc(20 * 2 ** 20, 'What goes up comes down. ')

function errorsOf({ socketErrors, non2xx }: WrkResult): number {
  return Object.values(socketErrors).reduce((sum, count) => sum + count, non2xx)
}

/** Of a bucket policy: who may read one object, and that nobody may read another one without a signature. */
function readableFrom(address: string, { name }: { readonly name: string }): object[] {
  const allow = (key: string, from: string) => ({
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:GetObject',
    Resource: `arn:aws:s3:::${name}/${key}`,
    Condition: { IpAddress: { 'aws:SourceIp': `${from}/32` } },
  })
  return [allow('kept', address), allow('large', '192.0.2.1')]
}

describe.each([
  ['never', undefined],
  ['before every request', 1],
] as const)('moved %s', (_, every) => {
  let ceph: CephInstallation
  let directly: Bucket
  let handedOff: Bucket

  /** A bucket, and the address where it is asked for. */
  interface Bucket {
    readonly address: string
    readonly name: string
  }

  beforeAll(async () => {
    ceph = await startCeph({ ...(every !== undefined && { every }) })
    directly = { address: ceph.plain, name: 'plain' }
    handedOff = { address: ceph.address, name: 'moved' }
    for (const [name, bytes] of Object.entries({ large, small: large.subarray(0, 400_000) }))
      writeFileSync(join(ceph.client.directory, name), bytes)
  }, TIMEOUT)
  afterAll(() => ceph?.[Symbol.asyncDispose]())

  function url({ address, name }: Bucket, method: string, key: string, query: Record<string, string> = {}): string {
    return presign(ceph.cluster.credentials, { method, host: address, path: `/${name}${key}`, query })
  }

  /** What a client of one connection receives, with all headers. */
  async function say(bucket: Bucket, requests: readonly CurlRequest[]): Promise<string> {
    const meant = (option: string) =>
      option.startsWith('@') ? join(ceph.client.directory, option.slice(1)) : option.replace('BUCKET', bucket.name)
    const parts = requests.map(([method, key, ...options]) => [
      '-i',
      '-X',
      method,
      ...options.map(meant),
      url(bucket, method, key),
    ])
    return comparable(await curl(...parts.flatMap((part, index) => (index === 0 ? part : ['--next', ...part]))))
  }

  /** What curl writes, however much. */
  async function curl(...args: string[]): Promise<string> {
    const file = join(ceph.client.directory, 'received')
    const script = 'file=$1; shift; exec curl -sS --max-time 40 "$@" >"$file"'
    await ceph.client.run(['sh', '-c', script, 'sh', file, ...args], { timeout: 60_000 })
    return readFileSync(file, 'latin1')
  }

  test(
    'buckets are made',
    async () => {
      const make: CurlRequest[] = [
        ['PUT', ''],
        ['PUT', '/kept', '--upload-file', '@small'],
        ['GET', '/kept'],
      ]
      const expected = await say(directly, make)
      expect(statusesOf(expected)).toEqual(['200', '200', '200'])
      expect(await say(handedOff, make)).toBe(expected)
    },
    TIMEOUT,
  )

  test.each([...exchanges])(
    '%s',
    async (_name, statuses, ...requests) => {
      const before = ceph.handoffs.length
      const small: CurlRequest = ['GET', '/kept', '--range', '100-199']
      const around = [small, ...requests, small]
      const expected = await say(directly, around)
      expect(statusesOf(expected)).toEqual(['206', ...statuses.split(' '), '206'])
      expect(await say(handedOff, around)).toBe(expected)
      await eventually(() => ceph.handoffs.length > before)
    },
    TIMEOUT,
  )

  test(
    'a client that uses several connections at once, and uploads in parts',
    async () => {
      const use = async ({ address, name }: Bucket): Promise<S3ClientReport> => {
        await curl('-X', 'PUT', url({ address, name: `${name}-2` }, 'PUT', ''))
        const options: S3ClientOptions = {
          endpoint: `http://${address}`,
          bucket: `${name}-2`,
          credentials: ceph.cluster.credentials,
        }
        const program = [process.execPath, s3Client, JSON.stringify(options)] as const
        return JSON.parse((await ceph.client.run([...program], { timeout: 60_000 })).stdout)
      }
      const before = ceph.handoffs.length
      const report = await use(directly)
      const { wholeObject, inParts, ranges, nothing, deleted } = report
      expect([wholeObject, inParts]).toMatchObject([{ whole: true }, { whole: true }])
      expect({ ranges, nothing, deleted }).toEqual({ ranges: [true, true, true], nothing: 'NoSuchKey', deleted: 0 })
      expect(await use(handedOff)).toEqual(report)
      await eventually(() => ceph.handoffs.length > before)
    },
    TIMEOUT,
  )

  test(
    'a connection goes to and fro between the servers',
    async () => {
      const requests = Array.from({ length: 20 }, (): CurlRequest => ['GET', '/kept', '-r', '0-9'])
      const answers = await say(handedOff, [...requests, ['HEAD', '/kept', '-I', '--write-out', 'port %{local_port}']])
      expect(statusesOf(answers)).toEqual([...requests.map(() => '206'), '200'])
      const client = `${ceph.client.ipv4}:${answers.match(/port (\d+)$/)?.[1]}>`
      const visited = () =>
        ceph.handoffs
          .filter(({ flow, outcome }) => outcome === 'handed-off' && flow.startsWith(client))
          .map(({ server }) => server)
      await eventually(() => visited().length >= (every === undefined ? 1 : 6))
      expect(ceph.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
      const servers = visited()
      if (every === undefined) expect(servers).toHaveLength(1)
      else expect(servers.every((server, index) => server !== servers[index + 1])).toBe(true)
    },
    TIMEOUT,
  )

  test(
    "policies see the client's address",
    async () => {
      for (const bucket of [directly, handedOff]) {
        const file = join(ceph.client.directory, 'policy')
        writeFileSync(
          file,
          JSON.stringify({ Version: '2012-10-17', Statement: readableFrom(ceph.client.ipv4, bucket) }),
        )
        await curl('--fail', '-T', file, url(bucket, 'PUT', '', { policy: '' }))
        const unsigned = (key: string) => `http://${bucket.address}/${bucket.name}${key}`
        const answers = await curl(
          '-i',
          '-r',
          '0-9',
          unsigned('/kept'),
          '--next',
          '-i',
          '-r',
          '0-9',
          unsigned('/large'),
        )
        expect(statusesOf(answers)).toEqual(['206', '403'])
      }
    },
    TIMEOUT,
  )

  test(
    'load with many connections: no error, and nothing is left',
    async () => {
      await leavesNothing(async () => {
        for (const key of ['/small', '/large']) {
          const load = { url: url(handedOff, 'GET', key), duration: 2, connections: 16, timeout: 20 }
          const result = await wrk(ceph.client, load)
          // Large objects need not be there as a whole by then.
          expect([result.bytes > 0, errorsOf(result)]).toEqual([true, 0])
        }
      })
      expect(ceph.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
    },
    TIMEOUT,
  )

  test(
    'a server is drained while it has busy and idle connections, and no client notices',
    async () => {
      await leavesNothing(async () => {
        const [first] = ceph.servers
        if (first === undefined) throw new Error('no server')
        const load = wrk(ceph.client, {
          url: url(handedOff, 'GET', '/small'),
          duration: 4,
          connections: 16,
          timeout: 20,
        })
        const idle = ceph.client.spawn([
          'curl',
          '-sS',
          '--rate',
          '12/m',
          ...Array.from({ length: 3 }, () => url(handedOff, 'GET', '/kept')),
        ])
        await eventually(async () => (await clientConnections(first)) > 4)
        await order('POST', 'servers/server1/drain', {})
        await eventually(async () => (await clientConnections(first)) === 0)
        expect(errorsOf(await load)).toBe(0)
        await order('DELETE', 'servers/server1/drain')
        await idle.stop()
      })
      expect(ceph.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
    },
    TIMEOUT,
  )

  function order(method: string, path: string, body?: object): Promise<unknown> {
    return callControlApi(ceph.api, method, path, { ...(body !== undefined && { body }) })
  }

  /** Runs `use` and expects that files, rules and the connections of clients are as many as before, once they had the time to end. */
  async function leavesNothing(use: () => Promise<void>): Promise<void> {
    const gateway = ceph.testbed.host('gateway')
    const count = async () => [
      openFiles(ceph.gateway),
      ...ceph.servers.map(({ agent }) => openFiles(agent)),
      ...[gateway, ...ceph.servers.map(({ host }) => host)].map(ruleCount),
      ...(await Promise.all(ceph.servers.map(clientConnections))),
    ]
    const before = await count()
    await use()
    const isLess = async () => (await count()).every((value, index) => value <= (before[index] ?? 0))
    await eventually(isLess).catch(async () => expect(await count()).toEqual(before))
  }

  async function clientConnections({ host }: CephServer): Promise<number> {
    const { stdout } = await host.run(['ss', '-Htan', 'exclude', 'time-wait', 'src', ceph.address])
    return stdout.split('\n').filter((line) => line !== '').length
  }
})
