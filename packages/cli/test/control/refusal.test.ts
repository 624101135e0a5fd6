import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeMessage, MacAddress, PROTOCOL_VERSION } from '@xoffload/core'
import { createAuthority } from '../../src/certificates/index.ts'
import { ControlError, type ControlListener, readCredentials } from '../../src/control/index.ts'
import {
  abort,
  channelOf,
  connect,
  credentials,
  Events,
  gatewayCredentials,
  hello,
  Inbox,
  listen,
  openSockets,
  serverCredentials,
} from './support.ts'

const cleanup: (() => void)[] = []
afterEach(() => {
  for (const close of cleanup.splice(0).reverse()) close()
})

const day = 86_400_000
const stranger = await createAuthority('test-authority')

function listener(events: Events, options: Parameters<typeof listen>[1] = {}): ControlListener {
  const made = listen(events, options)
  cleanup.push(() => made.close())
  return made
}

/** Connects with TLS options of its own, says `bytes` as soon as it can, and waits until it is closed. */
async function intrude(port: number, tls: Bun.TLSOptions | undefined, bytes: Uint8Array): Promise<number> {
  const closed = Promise.withResolvers<void>()
  let received = 0
  await Bun.connect({
    hostname: '127.0.0.1',
    port,
    ...(tls === undefined ? {} : { tls: { ...tls, rejectUnauthorized: false, serverName: 's1' } }),
    socket: {
      open: (socket) => void (tls === undefined && socket.write(bytes)),
      handshake: (socket) => void socket.write(bytes),
      data: (_socket, chunk) => {
        received += chunk.length
      },
      error: () => {},
      close: () => closed.resolve(),
    },
  })
  await closed.promise
  return received
}

const greeting = Buffer.concat([encodeMessage(hello('gateway')), encodeMessage(abort(1))])

async function tls(made: Promise<{ ca: string; certificate: string; key: string }>): Promise<Bun.TLSOptions> {
  const { ca, certificate, key } = await made
  return { ca, cert: certificate, key }
}

test('whoever was refused is named with the port, also when the connection is gone by then', async () => {
  const remotes = new Inbox<string>()
  const { port } = listener(new Events(), { onRefused: (remote) => remotes.put(remote) })
  const socket = await Bun.connect({ hostname: '127.0.0.1', port, socket: { data() {} } })
  const { localPort } = socket
  // Who came later was accepted and refused: so the first was accepted.
  await intrude(port, undefined, Buffer.from('no TLS'))
  socket.terminate()
  expect(await remotes.at(1)).toBe(`127.0.0.1:${localPort}`)
})

test.each<[string, () => Promise<Bun.TLSOptions>, string]>([
  ['no certificate', async () => ({ ca: serverCredentials.ca }), 'peer did not return a certificate'],
  [
    'another authority of the same name',
    () => tls(credentials('gateway', { signer: stranger })),
    'unable to verify the first certificate',
  ],
  [
    'an expired certificate',
    () => tls(credentials('gateway', { notBefore: new Date(Date.now() - 10 * day), days: 2 })),
    'certificate has expired',
  ],
  [
    'a certificate of tomorrow',
    () => tls(credentials('gateway', { notBefore: new Date(Date.now() + day) })),
    'certificate is not yet valid',
  ],
  ['another name', () => tls(credentials('s2')), `the peer's certificate is for "DNS:s2": gateway is expected`],
  ['a name that contains the right one', () => tls(credentials('gateway.example')), 'gateway is expected'],
])('a listener refuses %s: no message is processed, nothing is said', async (_case, options, reason) => {
  const events = new Events()
  const { port } = listener(events)
  const received = await intrude(port, await options(), greeting)
  const refusal = (await events.failures.at(0)).reason
  expect([refusal.reason, refusal.message]).toEqual(['refused', expect.stringContaining(reason)])
  expect(received).toBe(0)
  expect([events.ups.items, events.messages.items]).toEqual([[], []])
})

test('a listener refuses a peer without TLS: it gets an alert and no more', async () => {
  const events = new Events()
  const { port } = listener(events)
  // RFC 8446 section 5.1: a record header of five bytes, the alert of two.
  expect(await intrude(port, undefined, greeting)).toBe(7)
  expect((await events.failures.at(0)).reason.message).toContain('wrong version number')
  expect([events.ups.items, events.messages.items]).toEqual([[], []])
})

test('the same intruder with the right certificate gets in: the refusals are for what was wrong', async () => {
  const events = new Events()
  const { port } = listener(events)
  const done = intrude(port, await tls(credentials('gateway')), greeting)
  expect(await events.messages.at(0)).toEqual(abort(1))
  for (const made of cleanup.splice(0)) made()
  expect(await done).toBeGreaterThan(0)
})

test('a client of TLS 1.2 with the right certificate is refused', async () => {
  const events = new Events()
  const { port } = listener(events)
  const folder = mkdtempSync(join(tmpdir(), 'xoffload-tls12-'))
  cleanup.push(() => rmSync(folder, { recursive: true }))
  await Bun.write(`${folder}/crt`, gatewayCredentials.certificate)
  await Bun.write(`${folder}/key`, gatewayCredentials.key)
  const words = [
    's_client',
    '-tls1_2',
    '-connect',
    `127.0.0.1:${port}`,
    '-cert',
    `${folder}/crt`,
    '-key',
    `${folder}/key`,
  ]
  const client = Bun.spawn(['openssl', ...words], { stdin: greeting, stdout: 'ignore', stderr: 'pipe' })
  expect(await new Response(client.stderr).text()).toContain('alert protocol version')
  expect((await events.failures.at(0)).reason.message).toContain('unsupported protocol')
  expect(events.messages.items).toEqual([])
})

test('the same refusal of the same address is reported once', async () => {
  const events = new Events()
  const made = listener(events)
  const options = await tls(credentials('s2'))
  for (let round = 0; round < 3; round++) await intrude(made.port, options, greeting)
  await intrude(made.port, { ca: serverCredentials.ca }, greeting)
  await events.failures.atLeast(2)
  expect(made.refused).toBe(4)
  expect(events.failures.items).toHaveLength(2)
})

test.each<[string, () => Promise<{ ca: string; certificate: string; key: string }>, string]>([
  ['of another authority', () => credentials('s1', { signer: stranger }), 'unable to verify the first certificate'],
  ['of another name', () => credentials('s2'), "Hostname/IP does not match certificate's altnames"],
  [
    'that has expired',
    () => credentials('s1', { notBefore: new Date(Date.now() - 10 * day), days: 2 }),
    'certificate has expired',
  ],
])('a connector refuses a server with a certificate %s', async (_case, made, reason) => {
  const data = new Inbox<Uint8Array>()
  const { ca, certificate, key } = await made()
  const server = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    tls: { ca, cert: certificate, key },
    socket: {
      handshake: (socket) => void socket.write(encodeMessage(hello('s1'))),
      data: (_socket, chunk) => data.put(chunk),
      error: () => {},
    },
  })
  cleanup.push(() => server.stop(true))
  const events = new Events()
  const connector = connect(events, server.port)
  cleanup.push(() => connector.close())
  const failure = (await events.failures.at(0)).reason
  expect([failure.reason, failure.message]).toEqual(['refused', expect.stringContaining(reason)])
  // Not even the second attempt comes up, and our hello was never said.
  await events.failures.atLeast(2)
  expect([events.ups.items, data.items]).toEqual([[], []])
})

test('a peer of another protocol version is told from one that is broken', async () => {
  const events = new Events()
  const { port } = listener(events)
  const gateway = new Events()
  const connector = connect(gateway, port, { hello: { ...hello('gateway'), protocolVersion: PROTOCOL_VERSION + 1 } })
  cleanup.push(() => connector.close())
  const reason = (await events.failures.at(0)).reason
  expect([reason.reason, reason.message]).toEqual([
    'protocol',
    expect.stringContaining(`protocol version ${PROTOCOL_VERSION + 1}, this program ${PROTOCOL_VERSION}`),
  ])
  expect(events.ups.items).toEqual([])
})

test.each([
  ['a message before its hello', encodeMessage(abort(1)), 'sent "abort" before its hello'],
  [
    'a hello with the name of another',
    encodeMessage(hello('gateway2')),
    'calls itself "gateway2", its certificate is for gateway',
  ],
  ['what is no message', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'is no message'],
  ['a hello that is too long', Uint8Array.of(0x7f, 0xff, 0xff, 0xff, 1), 'is no message'],
])('a peer that sends %s', async (_case, bytes, reason) => {
  const events = new Events()
  const { port } = listener(events)
  await intrude(port, await tls(credentials('gateway')), bytes)
  const refusal = (await events.failures.at(0)).reason
  expect([refusal.reason, refusal.message]).toEqual(['protocol', expect.stringContaining(reason)])
  expect([events.ups.items, events.messages.items]).toEqual([[], []])
})

test('a second hello ends the connection', async () => {
  const events = new Events()
  const { port } = listener(events)
  await intrude(
    port,
    await tls(credentials('gateway')),
    Buffer.concat([encodeMessage(hello('gateway')), encodeMessage(hello('gateway'))]),
  )
  expect((await events.downs.at(0)).message).toContain('said hello twice')
})

test('idle connections are closed after the time to open, and do not keep a gateway out', async () => {
  const events = new Events()
  const { port } = listener(events, { limits: { opening: 8, openTimeout: 300 } })
  const before = openSockets()
  const closed = new Inbox<true>()
  for (let index = 0; index < 20; index++) {
    await Bun.connect({ hostname: '127.0.0.1', port, socket: { data() {}, error() {}, close: () => closed.put(true) } })
  }
  await closed.atLeast(12)
  const gateway = new Events()
  const connector = connect(gateway, port)
  cleanup.push(() => connector.close())
  await gateway.ups.atLeast(1)
  await closed.atLeast(20)
  channelOf(connector, 's1').send(abort(1))
  expect(await events.messages.at(0)).toEqual(abort(1))
  expect(openSockets() - before).toBeLessThanOrEqual(2)
})

test('credentials that cannot work are refused before any connection is made, without the key in the error', async () => {
  const other = await credentials('gateway')
  const cases = [
    [{ ...gatewayCredentials, key: other.key }, 'the key does not belong to the certificate'],
    [{ ...gatewayCredentials, key: gatewayCredentials.key.slice(0, 80) }, 'the key is not in PEM form, or damaged'],
    [{ ...gatewayCredentials, ca: 'x' }, 'the authority is not in PEM form, or damaged'],
    [await credentials('s9'), 'the certificate is for "DNS:s9", this host is called "gateway"'],
  ] as const
  for (const [broken, message] of cases) {
    let error: unknown
    try {
      connect(new Events(), 1, { credentials: broken }).close()
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ControlError)
    expect((error as ControlError).message).toBe(message)
    expect(Bun.inspect(error)).not.toContain(broken.key.split('\n')[1] ?? 'no key')
  }
  const missing = { ca: '/nonexistent/ca.crt', certificate: '/nonexistent/crt', key: '/nonexistent/key' }
  await expect(readCredentials(missing)).rejects.toThrow('the authority /nonexistent/ca.crt cannot be read')
})

test('an address that is in use, or not of this host, is named', () => {
  const events = new Events()
  const { port } = listener(events)
  expect(() => listen(events, { listen: { address: '127.0.0.1', port } })).toThrow(
    `cannot listen on 127.0.0.1 port ${port}`,
  )
  expect(() => listen(events, { listen: { address: '192.0.2.1', port: 7900 } })).toThrow(
    'cannot listen on 192.0.2.1 port 7900',
  )
})

test('the hello carries what the peer must know', async () => {
  const events = new Events()
  const { port } = listener(events)
  const mac = MacAddress.parse('02:00:5e:10:00:07')
  const connector = connect(new Events(), port, {
    hello: { ...hello('gateway', 0xffff_ffff_ffff_ffffn), mac, maximumHandoffs: 7 },
  })
  cleanup.push(() => connector.close())
  const said = await events.ups.at(0)
  expect([said.instance, said.mac.toString(), said.maximumHandoffs]).toEqual([
    0xffff_ffff_ffff_ffffn,
    '02:00:5e:10:00:07',
    7,
  ])
})
