// A server that is reached through a tunnel: its rules are for what comes out of the tunnel, too.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { queryTc, type Tap } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { type TcpFrame, tcpFrame, withoutVirtioHeader } from './frames.ts'
import { frameFor, run, SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork, until } from './network.ts'

const GATEWAY = MacAddress.parse('02:00:00:00:00:11')
/** Where late packets are sent back to. */
const WAY_BACK = MacAddress.parse('02:00:00:00:00:22')
const INNER = MacAddress.parse('02:00:00:00:00:33')
const NAME = 'tunnel'
const IDENTIFIER = 7
const PORT = 4789

let network: TestNetwork
let back: Tap
let server: TcRedirector
let sender: Bun.udp.Socket<'buffer'>

beforeEach(async () => {
  network = new TestNetwork()
  back = network.addRawPort('back')
  sender = await network.gateway.inside(() => Bun.udpSocket({}))
})
afterEach(async () => {
  sender.close()
  await network.server.inside(() => server.close())
  back.close()
  network[Symbol.dispose]()
})

const ip = (...args: string[]) => run('ip', '-n', network.server.namespace, ...args)

/** Adds a VXLAN device, opens the server's redirector, and returns the device's index. */
async function open(...options: string[]): Promise<number> {
  ip('link', 'add', NAME, 'type', 'vxlan', 'dstport', `${PORT}`, ...options)
  ip('link', 'set', NAME, 'up')
  await openRedirector(NAME)
  return Number(/^(\d+):/.exec(ip('-o', 'link', 'show', NAME))?.[1])
}

async function openRedirector(tunnel: string): Promise<void> {
  server = new TcRedirector({ device: 'eth0' })
  await network.server.inside(() => server.open())
  network.server.inside(() => server.addTunnel(tunnel))
}

interface Case {
  /** Of the device. */
  readonly options: readonly string[]
  readonly mac?: MacAddress
  /** What is sent for a client's frame. */
  readonly datagram: (frame: Uint8Array) => number[]
}

const cases: readonly [string, Case][] = [
  [
    'frames (VXLAN)',
    {
      options: ['id', `${IDENTIFIER}`],
      mac: INNER,
      datagram: (frame) => [0x08, 0, 0, 0, 0, 0, IDENTIFIER, 0, ...frame],
    },
  ],
  [
    // The Generic Protocol Extension gives a device without Ethernet headers, as IP in IP does.
    'packets (VXLAN-GPE)',
    {
      options: ['gpe', 'external'],
      datagram: (frame) => [0x0c, 0, 0, frame[12] === 0x08 ? 1 : 2, 0, 0, IDENTIFIER, 0, ...frame.subarray(14)],
    },
  ],
]

describe.each(cases)('a tunnel of %s', (_name, { options, mac, datagram }) => {
  test.each([
    ['IPv4', { address: '10.77.0.77', port: 40000 }, { address: SERVICE_IPV4, port: 81 }],
    ['IPv6', { address: 'fd77::77', port: 40000 }, { address: SERVICE_IPV6, port: 81 }],
  ])('brings %s packets that are held, sent back, or left to the stack without a rule', async (_family, from, to) => {
    await open(...options)
    if (mac !== undefined) ip('link', 'set', NAME, 'address', mac.toString())
    const flow = FlowKey.of(from, to)
    const frame = (text: string): TcpFrame => {
      return { source: GATEWAY, destination: INNER, from, to, payload: Buffer.from(text) }
    }
    const send = (text: string): void => {
      const bytes = datagram(withoutVirtioHeader(tcpFrame(frame(text))))
      expect(sender.send(Uint8Array.from(bytes), PORT, network.server.ipv4)).toBe(true)
    }
    const returned = (text: string, hopLimit = 64) => {
      const sent = { ...frame(text), source: network.server.mac, destination: WAY_BACK, hopLimit }
      return withoutVirtioHeader(tcpFrame(sent))
    }
    const resets = () => snmp(network.server, 'Tcp', 'OutRsts')
    const before = resets()

    await server.put({ action: 'hold', flow })
    send('one')
    await until('it is held', () => server.statistics().heldFrames === 1)
    await server.put({ action: 'hold', flow, silent: true })
    send('two')
    await until('both are held', () => server.statistics().heldFrames === 2)

    const late: Rule = { action: 'steer', flow, target: { mode: 'l2', mac: WAY_BACK }, returning: true }
    await server.put(late)
    send('three')
    expect(await frameFor(back, WAY_BACK)).toEqual(returned('one'))
    expect(await frameFor(back, WAY_BACK)).toEqual(returned('two'))
    expect(await frameFor(back, WAY_BACK)).toEqual(returned('three', 8))
    expect(resets()).toBe(before)

    await server.remove(flow)
    send('four')
    await until('the stack has answered', () => resets() === before + 1)
  })
})

test('the program goes with the redirector, and stays for the next process after a release', async () => {
  const ifindex = await open('id', `${IDENTIFIER}`)
  const programId = (): number | undefined =>
    network.server.inside(() => queryTc({ ifindex, direction: 'ingress', priority: 100, handle: 1 }))
  const first = programId()
  expect(first).toBeGreaterThan(0)
  await network.server.inside(() => server.release())
  expect(programId()).toBe(first as number)
  await openRedirector(NAME)
  const second = programId()
  expect(second).toBeGreaterThan(0)
  expect(second).not.toBe(first as number)
  await network.server.inside(() => server.close())
  expect(programId()).toBeUndefined()
})

test('a tunnel device that is not there is named', async () => {
  await expect(openRedirector('elsewhere')).rejects.toThrow('no tunnel device "elsewhere"')
})
