// A program with the shim is as it would be without it, whatever the agent does.
import { afterEach, expect, test } from 'bun:test'
import { closeSync, openSync } from 'node:fs'
import { closeFd, unixPair } from '@xoffload/linux'
import { preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import { encodeItem } from '../../src/preload/protocol.ts'
import { establishedSocket } from '../established-socket.ts'
import { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'
import { FakeAgent } from './fake-agent.ts'
import { afterTest, cleanUp, eventually, type Program, programs, socketPath, start } from './support.ts'

afterEach(cleanUp)

async function program(): Promise<{ program: Program; socket: string }> {
  const socket = socketPath()
  return { program: await start(programs.node, preloadEnvironment(socket)), socket }
}

async function serves({ port }: Program): Promise<void> {
  const client = await RawClient.connect(port)
  await client.send(get('/1') + get('/2'))
  for (const path of ['/1', '/2']) expect((await client.response()).body.toString()).toBe(`GET ${path} `)
  client.close()
}

/** What a stranger on this host can send: the public part of a knock. */
async function strangerKnocks({ port }: Program): Promise<void> {
  const client = await RawClient.connect(port)
  await client.send(`xoffload-knock\r\n${'x'.repeat(16)}`)
  await client.end()
  client.close()
}

async function withAgent(): Promise<{ program: Program; agent: FakeAgent }> {
  const { program: started, socket } = await program()
  const agent = new FakeAgent(socket, started.port)
  await agent.welcome()
  return { program: started, agent }
}

async function adopted(agent: FakeAgent) {
  const { fd, client } = await establishedSocket()
  afterTest(() => client.close())
  agent.post(encodeItem({ connection: 7n, watch: true, requests: 0 }), [fd])
  closeFd(fd)
  await agent.knock()
  const { value } = await agent.message('adopted')
  return { client, number: value }
}

test('no agent', async () => {
  const { program: started } = await program()
  await serves(started)
  for (let count = 0; count < 5; count++) await strangerKnocks(started)
  await serves(started)
})

test('an agent that says nothing', async () => {
  const { program: started, socket } = await program()
  const agent = new FakeAgent(socket, started.port)
  // A program that is too slow to say hello in its time hangs up without a word, and says it to the next knock.
  await eventually(async () => {
    await strangerKnocks(started)
    return agent.messages.length > 0
  })
  for (let count = 0; count < 5; count++) await strangerKnocks(started)
  await serves(started)
})

test.each([
  ['too little', new Uint8Array(3)],
  ['zeros', new Uint8Array(48)],
  ['noise', Uint8Array.from({ length: 480 }, (_, index) => (index * 31) & 0xff)],
])('an agent that answers hello with %s', async (_, bytes) => {
  const { program: started, socket } = await program()
  const agent = new FakeAgent(socket, started.port)
  const knocking = agent.knock()
  await agent.message('hello')
  agent.send(bytes)
  await knocking
  await eventually(() => !agent.connected)
  await serves(started)
})

test('an agent that talks nonsense later: connections go on as ordinary ones', async () => {
  const { program: started, agent } = await withAgent()
  const { client } = await adopted(agent)
  agent.send(Uint8Array.from({ length: 480 }, (_, index) => (index * 31) & 0xff))
  for (let count = 0; count < 3; count++) {
    await client.send(get(`/${count}`))
    expect((await client.response()).body.toString()).toBe(`GET /${count} `)
  }
  await eventually(() => !agent.connected)
  await serves(started)
})

test('an agent that floods: verdicts that nobody asked for, orders for connections that are not', async () => {
  const { program: started, agent } = await withAgent()
  const { client, number } = await adopted(agent)
  for (let count = 0; count < 100; count++) {
    agent.tell({ type: 'verdict', connection: 7n, value: 1000 + count, argument: 1 })
    agent.tell({ type: 'recall', connection: 8n, value: number, argument: 1 })
    agent.tell({ type: 'recall', connection: 7n, value: 1 << 30, argument: 1 })
    agent.tell({ type: 'end', connection: 9n, value: 0 })
  }
  await client.send(get('/1'))
  expect((await client.response()).body.toString()).toBe('GET /1 ')
  await serves(started)
})

test('an agent that never gives a verdict', async () => {
  const { agent } = await withAgent()
  const { client } = await adopted(agent)
  for (let count = 0; count < 20; count++) {
    await client.send(get(`/${count}`))
    expect((await client.response()).body.toString()).toBe(`GET /${count} `)
  }
  // After the first it was left alone for a while.
  expect(agent.messages.filter(({ type }) => type === 'ask').length).toBeLessThan(20)
})

test.each([
  ['a file', () => openSync('/dev/null', 'r')],
  ['a Unix socket', () => unixPair()[0]],
])('an agent that passes %s', async (_, open) => {
  const { program: started, agent } = await withAgent()
  const fd = open()
  agent.post(encodeItem({ connection: 1n, watch: true, requests: 0 }), [fd])
  closeSync(fd)
  await agent.knock()
  expect((await agent.message('lost')).connection).toBe(1n)
  await serves(started)
})

test.each([
  ['no descriptor', encodeItem({ connection: 1n, watch: true, requests: 0 }), 0],
  ['too many descriptors', encodeItem({ connection: 1n, watch: true, requests: 0 }), 100],
  ['a short item', new Uint8Array(5), 1],
  ['a long item', new Uint8Array(5000), 1],
])('an agent that passes %s', async (_, bytes, count) => {
  const { program: started, agent } = await withAgent()
  const fd = openSync('/dev/null', 'r')
  agent.post(
    bytes,
    Array.from({ length: count }, () => fd),
  )
  closeSync(fd)
  await agent.knock()
  await serves(started)
})

test('a knock with another secret, or without an item, is nothing', async () => {
  const { program: started, agent } = await withAgent()
  await agent.knock()
  await agent.knock(new Uint8Array(16))
  await serves(started)
})

test('an agent that dies while the program waits for its verdict', async () => {
  const { program: started, agent } = await withAgent()
  const { client } = await adopted(agent)
  await client.send(get('/1'))
  await agent.message('ask')
  agent.close()
  expect((await client.response()).body.toString()).toBe('GET /1 ')
  await serves(started)
})
