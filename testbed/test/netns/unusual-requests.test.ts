// A gateway and stock nginx behind it: whatever a client sends, well-formed or not, the answer is that of plain nginx, byte by byte.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Random } from '@xoffload/core/simulation'
import { editConfiguration, ports } from '@xoffload/testbed'
import type { Exchanged } from '../../src/deployment/exchange-client.ts'
import { exchanges, get, http, malformed, request, server } from './nginx-requests.ts'
import { comparable, NginxHosts, waysOfMoving } from './preload-hosts.ts'
import { unusual } from './unusual-requests.ts'

const exchangeClient = join(import.meta.dir, '../../src/deployment/exchange-client.ts')
const TIMEOUT = 120_000
/** The same ones each time: what comes out red can be looked at again. */
const SEED = 1
const CHANGED = 1500
/** How far into a text it is changed: heads are what servers disagree about. Characters. */
const CHANGED_PART = 120

/** What is put into a text: what has a meaning in HTTP/1, and some that has none. */
const insertions = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '/',
  '%',
  '0',
  '5',
  'A',
  '.',
  '\x7f',
  '\xff',
]

/** A text with up to three places changed: something put in, replaced or left out. */
function change(text: string, random: Random): string {
  const characters = [...text]
  for (let count = random.between(1, 3); count > 0; count--) {
    const at = random.below(Math.min(characters.length, CHANGED_PART))
    characters.splice(at, random.between(0, 3), ...(random.chance(0.7) ? [random.pick(insertions)] : []))
  }
  return characters.join('')
}

/** What is answered in one segment, and keeps the connection. */
const ordinary = request(get('/empty'))

const listed = [...[...exchanges, ...malformed].map(([, text]) => text), ...unusual]

function changed(count: number): string[] {
  const random = new Random(SEED)
  const texts = listed.filter((text) => text.length < 1000)
  return Array.from({ length: count }, () => change(random.pick(texts), random))
}

/** Each upload to a name of its own: whether there is a file of that name is part of the answer. */
const sent = [...listed, ...changed(CHANGED)].map((text, index) => text.replaceAll('/put/', `/put/${index}-`))

/** The answers to all texts, `first` being sent and answered before each. */
async function exchangeAll(hosts: NginxHosts, address: string, first: readonly string[]): Promise<string[]> {
  const texts = sent.map((text) => [...first, text].map((each) => Buffer.from(each, 'latin1').toString('base64')))
  const input = JSON.stringify(texts)
  const results = join(hosts.client.directory, 'exchanged.json')
  await hosts.client.run([process.execPath, exchangeClient, address, `${ports.service}`, results], {
    input,
    timeout: TIMEOUT,
  })
  return ((await Bun.file(results).json()) as Exchanged[]).map(({ received, end }) => `${comparable(received)}<${end}>`)
}

describe.each(waysOfMoving)('moved %s', (_, every, adapter) => {
  let hosts: NginxHosts
  beforeAll(async () => {
    hosts = await NginxHosts.start({
      servers: ['server1', 'server2'],
      http,
      server,
      adapter,
      ...(every !== undefined && { every }),
      // Half a request waits for it, and then for nginx's.
      prepareGateway: async (_host, file) =>
        editConfiguration(file, (config) => Object.assign(config, { limits: { headTimeout: 3000 } })),
    })
  }, TIMEOUT)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  test(
    'every answer is that of plain nginx, and nothing is left',
    async () => {
      // Where an answer has come before the next request does, the connection can move.
      const first = every === undefined ? [] : [ordinary]
      const expected = await exchangeAll(hosts, hosts.plain, first)
      const answers = await hosts.leavesNothing(() => exchangeAll(hosts, hosts.address, first))
      expect(expected.filter((answer) => !/<(FIN|RST)>$/.test(answer))).toEqual([])
      const differences = sent
        .map((text, index) => ({ text, expected: expected[index], answer: answers[index] }))
        .filter(({ expected, answer }) => expected !== answer)
      expect(differences).toEqual([])
      expect(hosts.handoffs.filter(({ outcome }) => outcome === 'lost')).toEqual([])
      const moved = hosts.handoffs.filter(({ direction }) => direction === 'server-to-server').length
      if (every === undefined) expect(moved).toBe(0)
      // Those whose head has a clear end; half of them are at the selected server already. And those stay that a busy agent has no word on in time.
      else expect(moved).toBeGreaterThan(sent.length / 50)
      // The gateway passes on the bytes of those that have no such head.
      expect(hosts.handoffs.filter(({ outcome }) => outcome === 'handed-off').length).toBeGreaterThan(sent.length / 3)
    },
    TIMEOUT,
  )
})
