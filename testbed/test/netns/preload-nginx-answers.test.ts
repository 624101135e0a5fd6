// nginx answers connections that it was given as it answers its own: byte by byte.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { type Host, nginxServer, reportOf, Testbed } from '@xoffload/testbed'
import type { RawReport } from '../../src/deployment/raw-client.ts'
import { type AdoptingNginx, adoptingNginx, files } from './adopting-nginx.ts'
import { exchanges, get, http, malformed, request, server } from './nginx-requests.ts'

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
const PORT = 80
let testbed: Testbed
let client: Host
const adopted: Host[] = []
const setups: AdoptingNginx[] = []
let plain: Host

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'plain', 'kept', 'moved'] })
  client = testbed.host('client')
  plain = testbed.host('plain')
  await nginxServer(plain, { port: PORT, listen: [`${PORT}`], files, http, server })
  for (const [name, every] of [
    ['kept', undefined],
    ['moved', 1],
  ] as const) {
    const host = testbed.host(name)
    adopted.push(host)
    setups.push(await adoptingNginx(host, { port: PORT, http, server, ...(every !== undefined && { every }) }))
  }
  // Last-Modified and ETag follow from the time.
  for (const host of [plain, ...adopted])
    for (const path of filesOf(host.directory)) utimesSync(path, 1_000_000, 1_000_000)
})

afterAll(async () => {
  for (const setup of setups) await setup[Symbol.asyncDispose]()
  await testbed.close()
})

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.endsWith('/root'))
    .map((entry) => join(entry.parentPath, entry.name))
}

async function answer(host: Host, mode: string, request: string): Promise<string> {
  const payload = Buffer.from(request, 'latin1').toString('base64')
  const { stdout } = await client.run([process.execPath, rawClient, host.ipv4, `${PORT}`, mode, payload], {
    timeout: 30_000,
  })
  const { received, error } = JSON.parse(stdout) as RawReport
  return `${received.replaceAll(/^Date: .*$/gm, 'Date: -')}${error ?? ''}`
}

test.each([...exchanges, ...malformed])(
  '%s',
  async (_, sent) => {
    const [expected, ...answers] = await Promise.all([plain, ...adopted].map((host) => answer(host, 'read', sent)))
    expect(answers).toEqual(answers.map(() => expected ?? ''))
  },
  60_000,
)

test('a client that ends its half', async () => {
  const expected = await answer(plain, 'half-close', request(get('/20k')))
  expect(expected.length).toBeGreaterThan(20_000)
  for (const host of adopted) expect(await answer(host, 'half-close', request(get('/20k')))).toBe(expected)
}, 60_000)

test('it was so with connections that were moved', async () => {
  const [kept, moved] = setups as [AdoptingNginx, AdoptingNginx]
  expect([(await reportOf(kept.agent)).takenBack, (await reportOf(kept.agent)).failed]).toEqual([0, 0])
  const { takenBack, failed } = await reportOf(moved.agent)
  expect(failed).toBe(0)
  // One of each connection that began with a request in order.
  expect(takenBack).toBeGreaterThanOrEqual(20)
})
