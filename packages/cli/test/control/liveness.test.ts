import { afterEach, expect, test } from 'bun:test'
import { encodeMessage } from '@xoffload/core'
import { Backoff } from '../../src/control/backoff.ts'
import type { ControlConnector, ControlLimits } from '../../src/control/index.ts'
import { abort, channelOf, connect, Events, hello, listen, offer, openSockets, serverCredentials } from './support.ts'

const cleanup: (() => void)[] = []
afterEach(() => {
  for (const close of cleanup.splice(0).reverse()) close()
})

/** As by default, but ten times as fast. */
const quick: Partial<ControlLimits> = {
  pingInterval: 100,
  deadAfter: 300,
  openTimeout: 300,
  reconnectMinimum: 10,
  reconnectMaximum: 100,
}

function gateway(events: Events, port: number, limits: Partial<ControlLimits> = quick): ControlConnector {
  const connector = connect(events, port, { limits })
  cleanup.push(() => connector.close())
  return connector
}

/** A server in a process of its own. */
async function spawnPeer(port = 0): Promise<{ process: Bun.Subprocess; port: number }> {
  const argument = JSON.stringify([serverCredentials, port, quick])
  const process = Bun.spawn([globalThis.process.execPath, `${import.meta.dir}/peer.ts`, argument], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
  cleanup.push(() => process.kill('SIGKILL'))
  const { value } = await process.stdout.getReader().read()
  return { process, port: Number(new TextDecoder().decode(value)) }
}

/** A server that says hello and then does what `socket` says. */
function impostor(socket: Partial<Bun.SocketHandler<undefined>>): number {
  const { ca, certificate, key } = serverCredentials
  const server = Bun.listen<undefined>({
    hostname: '127.0.0.1',
    port: 0,
    tls: { ca, cert: certificate, key },
    socket: {
      handshake: (accepted) => void accepted.write(encodeMessage(hello('s1'))),
      data() {},
      error() {},
      ...socket,
    },
  })
  cleanup.push(() => server.stop(true))
  return server.port
}

/** Connects until the kernel drops the SYN, which is what it does when nobody accepts. */
async function fillAcceptQueue(port: number): Promise<void> {
  for (let count = 0; count < 5000; count++) {
    const connected = Bun.connect({
      hostname: '127.0.0.1',
      port,
      socket: { data() {}, error() {}, connectError() {} },
    }).then((socket) => void cleanup.push(() => socket.terminate()))
    connected.catch(() => {})
    if ((await Promise.race([connected.then(() => true), Bun.sleep(100).then(() => false)])) === false) return
  }
  throw new Error('the accept queue does not fill')
}

test('an idle channel stays up', async () => {
  const [server, client] = [new Events(), new Events()]
  const listener = listen(server, { limits: quick })
  cleanup.push(() => listener.close())
  const connector = gateway(client, listener.port)
  await client.ups.atLeast(1)
  // Three times as long as a dead peer would be given.
  await Bun.sleep(900)
  expect([client.downs.items, server.downs.items]).toEqual([[], []])
  channelOf(connector, 's1').send(abort(1))
  expect(await server.messages.at(0)).toEqual(abort(1))
})

test('a peer that takes everything and says nothing is dead after three missed pings', async () => {
  const port = impostor({})
  const events = new Events()
  gateway(events, port)
  await events.ups.atLeast(1)
  const start = performance.now()
  const reason = await events.downs.at(0)
  expect([reason.reason, reason.message]).toEqual(['dead', 's1 gave no sign of life for 300 ms'])
  expect(performance.now() - start).toBeGreaterThan(290)
  expect(performance.now() - start).toBeLessThan(800)
})

test('a peer that speaks but does not read is dead too, and its buffer is given back', async () => {
  let timer: ReturnType<typeof setInterval> | undefined
  const port = impostor({
    handshake(socket) {
      socket.write(encodeMessage(hello('s1')))
      socket.pause()
      timer = setInterval(() => socket.write(encodeMessage({ type: 'ping', nonce: 1 })), 20)
    },
    close: () => clearInterval(timer),
  })
  const events = new Events()
  const channel = channelOf(gateway(events, port), 's1')
  await events.ups.atLeast(1)
  channel.send(offer(1, 20 * 1024 * 1024))
  const reason = await events.downs.at(0)
  expect([reason.reason, reason.message]).toEqual(['dead', expect.stringContaining('s1 has read nothing for 300 ms')])
  expect(channel.pending).toBe(0)
  clearInterval(timer)
})

test('a stopped process is dead; when it goes on, the channel comes up again', async () => {
  const { process, port } = await spawnPeer()
  const events = new Events()
  const connector = gateway(events, port)
  await events.ups.atLeast(1)
  process.kill('SIGSTOP')
  expect((await events.downs.at(0)).reason).toBe('dead')
  process.kill('SIGCONT')
  await events.ups.atLeast(2)
  channelOf(connector, 's1').send(abort(5))
  expect(await events.messages.at(0)).toEqual(abort(5))
})

test('a process that was stopped itself does not take its peer for dead', async () => {
  const events = new Events()
  const listener = listen(events, { limits: quick })
  cleanup.push(() => listener.close())
  const client = new Events()
  gateway(client, listener.port)
  await client.ups.atLeast(1)
  // Nothing of this process runs meanwhile, as if it were stopped: ten pings of time, and of a peer that is fine.
  Bun.sleepSync(1000)
  await Bun.sleep(300)
  expect([client.downs.items, events.downs.items]).toEqual([[], []])
})

test('a killed server is found out at once, and reached again when it is back, with another instance', async () => {
  const first = await spawnPeer()
  const events = new Events()
  const connector = gateway(events, first.port)
  const before = await events.ups.at(0)
  first.process.kill('SIGKILL')
  expect((await events.downs.at(0)).reason).toBe('lost')
  expect((await events.failures.at(1)).reason.reason).toBe('unreachable')
  expect(channelOf(connector, 's1').connected).toBe(false)
  await spawnPeer(first.port)
  const after = await events.ups.at(1)
  expect(after.instance).not.toBe(before.instance)
  channelOf(connector, 's1').send(abort(9))
  expect(await events.messages.at(0)).toEqual(abort(9))
}, 15_000)

test('a server that is not there yet is reached when it comes, and closing stops the attempts', async () => {
  const placeholder = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = placeholder
  placeholder.stop(true)
  const events = new Events()
  const connector = gateway(events, port)
  const failures = await events.failures.atLeast(5)
  for (const { reason, retryAfter } of failures) {
    expect(reason.message).toStartWith(`127.0.0.1 port ${port}: `)
    expect(retryAfter).toBeLessThanOrEqual(100)
  }
  const before = openSockets()
  connector.close()
  const count = events.failures.items.length
  await Bun.sleep(250)
  expect(events.failures.items.length).toBe(count)
  expect(openSockets()).toBeLessThanOrEqual(before)
})

test('a server that accepts and never speaks TLS is given up in time', async () => {
  const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  cleanup.push(() => server.stop(true))
  const events = new Events()
  const before = openSockets()
  gateway(events, server.port)
  await events.failures.atLeast(3)
  expect(events.failures.items[0]?.reason.message).toBe('no channel within 300 ms')
  // One attempt may be open at both ends; the three before are closed.
  expect(openSockets() - before).toBeLessThanOrEqual(3)
})

test('a host that swallows connection requests costs a bounded number of sockets', async () => {
  const { process, port } = await spawnPeer()
  process.kill('SIGSTOP')
  await fillAcceptQueue(port)
  const before = openSockets()
  const events = new Events()
  gateway(events, port, { ...quick, openTimeout: 20, reconnectMaximum: 20 })
  const failures = await events.failures.atLeast(30)
  expect(failures.at(-1)?.reason.message).toContain('s1 answers none of 5 attempts to connect')
  expect(openSockets() - before).toBeLessThanOrEqual(8)
})

test('many peers: each has a channel of its own', async () => {
  const server = new Events()
  const listener = listen(server)
  cleanup.push(() => listener.close())
  const events = new Events()
  const connector = connect(events, 0, {
    peers: [
      { name: 's1', endpoint: { address: '127.0.0.1', port: listener.port } },
      { name: 's2', endpoint: { address: '127.0.0.1', port: 1 } },
    ],
  })
  cleanup.push(() => connector.close())
  await events.ups.atLeast(1)
  await events.failures.atLeast(1)
  expect([...connector.channels].map(([name, channel]) => [name, channel.connected])).toEqual([
    ['s1', true],
    ['s2', false],
  ])
  const endpoint = { address: '127.0.0.1', port: 1 }
  expect(() =>
    connect(events, 0, {
      peers: [
        { name: 's1', endpoint },
        { name: 's1', endpoint },
      ],
    }),
  ).toThrow('two peers have the same name')
})

test('delays double up to their cap, half of each drawn by lot', () => {
  const lowest = new Backoff(100, 5000, () => 0)
  expect(Array.from({ length: 8 }, () => lowest.next())).toEqual([50, 100, 200, 400, 800, 1600, 2500, 2500])
  const middle = new Backoff(100, 5000, () => 0.5)
  expect(Array.from({ length: 3 }, () => middle.next())).toEqual([75, 150, 300])
  middle.reset()
  expect(middle.next()).toBe(75)
})
