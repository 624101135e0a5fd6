import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { MacAddress } from '@xoffload/core'
import {
  attachXdp,
  BpfObject,
  inNetworkNamespace,
  Rtnetlink,
  setDeviceFeatures,
  Tap,
  writeSysctl,
} from '@xoffload/linux'
import { withoutVirtioHeader } from './frames.ts'

/** Runs a command to its end. Throws with what it said when it fails. */
export function run(...command: string[]): string {
  const [program = '', ...args] = command
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
  return stdout
}

/** A network namespace with one device, `eth0`, on the bridge. */
export interface Host {
  readonly namespace: string
  readonly path: string
  readonly mac: MacAddress
  readonly ipv4: string
  readonly ipv6: string
  /** Runs a synchronous function there. */
  inside<Result>(run: () => Result): Result
}

export const SERVICE_IPV4 = '10.77.1.1'
export const SERVICE_IPV6 = 'fd77:1::1'

let networks = 0

/**
 * Client, gateway and server on one bridge, each in a namespace of its own. The service addresses are on the loopback of gateway
 * and server; the client's route to them leads to the gateway.
 */
export class TestNetwork implements Disposable {
  readonly client: Host
  readonly gateway: Host
  readonly server: Host
  readonly #bridge: string
  readonly #prefix = `xotc${process.pid}n${networks++}`

  /** With `driver`, for native XDP on the devices of gateway and server, which steers what has whole checksums. */
  constructor({ driver = false }: { readonly driver?: boolean } = {}) {
    this.#bridge = `${this.#prefix}b`
    this.#addNamespace(this.#bridge)
    run('ip', '-n', this.#bridge, 'link', 'add', 'br0', 'type', 'bridge')
    run('ip', '-n', this.#bridge, 'link', 'set', 'br0', 'up')
    this.client = this.#addHost('c', 1)
    this.gateway = this.#addHost('g', 2)
    this.server = this.#addHost('s', 3)
    for (const { namespace } of [this.gateway, this.server]) {
      run('ip', '-n', namespace, 'addr', 'add', `${SERVICE_IPV4}/32`, 'dev', 'lo')
      run('ip', '-n', namespace, 'addr', 'add', `${SERVICE_IPV6}/128`, 'dev', 'lo', 'nodad')
    }
    if (driver) {
      this.client.inside(() => setDeviceFeatures(indexOf('eth0'), { 'tx-checksum-ip-generic': false }))
      for (const name of ['g', 's']) inNetworkNamespace(`/run/netns/${this.#bridge}`, () => attachPass(name))
    }
    // Tail loss probes would send a segment twice when this machine is busy; what must be resent waits for a timeout (200 ms).
    this.client.inside(() => writeSysctl('ipv4/tcp_early_retrans', 0))
    // With XDP a veth device has room for 256 packets, and no large ones: what is under way must fit, or some are lost.
    if (driver) this.client.inside(() => writeSysctl('ipv4/tcp_wmem', '4096 65536 131072'))
    run('ip', '-n', this.client.namespace, 'route', 'add', SERVICE_IPV4, 'via', this.gateway.ipv4)
    run('ip', '-n', this.client.namespace, '-6', 'route', 'add', SERVICE_IPV6, 'via', this.gateway.ipv6)
  }

  /** A port of the bridge whose frames are written and read by the test itself. */
  addRawPort(name: string): Tap {
    return inNetworkNamespace(`/run/netns/${this.#bridge}`, () => {
      const tap = Tap.open({ name, queueLength: 4096 })
      run('ip', '-n', this.#bridge, 'link', 'set', name, 'master', 'br0')
      return tap
    })
  }

  get bridge(): string {
    return this.#bridge
  }

  [Symbol.dispose](): void {
    for (const suffix of ['c', 'g', 's', 'b']) {
      const name = `${this.#prefix}${suffix}`
      if (existsSync(`/run/netns/${name}`)) run('ip', 'netns', 'del', name)
    }
  }

  #addNamespace(name: string): void {
    run('ip', 'netns', 'add', name)
    run('ip', '-n', name, 'link', 'set', 'lo', 'up')
  }

  #addHost(suffix: string, number: number): Host {
    const namespace = `${this.#prefix}${suffix}`
    const [ipv4, ipv6] = [`10.77.0.${number}`, `fd77::${number}`]
    this.#addNamespace(namespace)
    run('ip', '-n', this.#bridge, 'link', 'add', suffix, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    run('ip', '-n', this.#bridge, 'link', 'set', suffix, 'master', 'br0', 'up')
    // XDP sees VLAN tags only where they are in the frame.
    inNetworkNamespace(`/run/netns/${this.#bridge}`, () =>
      setDeviceFeatures(indexOf(suffix), { 'tx-vlan-hw-insert': false, 'tx-vlan-stag-hw-insert': false }),
    )
    // Duplicate address detection would keep the link-local address from being used for a second or two.
    inNetworkNamespace(`/run/netns/${namespace}`, () => writeSysctl('ipv6/conf/eth0/accept_dad', 0))
    run('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
    run('ip', '-n', namespace, 'addr', 'add', `${ipv4}/24`, 'dev', 'eth0')
    run('ip', '-n', namespace, 'addr', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad')
    const path = `/run/netns/${namespace}`
    const inside = <Result>(task: () => Result): Result => inNetworkNamespace(path, task)
    const mac = inside(() => {
      using rtnetlink = new Rtnetlink()
      const found = rtnetlink.link('eth0')?.mac
      if (found === undefined) throw new Error('eth0 has no MAC address')
      return found
    })
    return { namespace, path, mac, ipv4, ipv6, inside }
  }
}

function indexOf(name: string): number {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(name)
  if (link === undefined) throw new Error(`there is no ${name}`)
  return link.index
}

/** What native XDP on the other end of a veth pair needs. */
function attachPass(name: string): void {
  const object = BpfObject.load(readFileSync(new URL('../../../../testbed/bpf/xdp.o', import.meta.url)))
  attachXdp(indexOf(name), object.program('pass'), 'driver')
  object.close()
}

/** The next frame for a MAC address, as it is on the wire; what the switch floods (neighbour discovery) is passed over. */
export async function frameFor(port: Tap, mac: MacAddress): Promise<Uint8Array> {
  return withoutVirtioHeader(await virtioFrameFor(port, mac))
}

/** The same with its virtio-net header. */
export async function virtioFrameFor(port: Tap, mac: MacAddress): Promise<Uint8Array> {
  let found: Uint8Array | undefined
  await until(`a frame for ${mac}`, () => {
    for (let frame = port.read(); frame !== undefined; frame = port.read()) {
      found = frame
      if (mac.equals(MacAddress.from(withoutVirtioHeader(frame).subarray(0, 6)))) return true
    }
    return false
  })
  return found as Uint8Array
}

/** A counter of the host's stack: `Tcp OutRsts`, `Ip ReasmReqds` (/proc/net/snmp), `TcpExt TCPTimeouts` (/proc/net/netstat). */
export function snmp(host: Host, section: string, name: string): number {
  const file = section.endsWith('Ext') ? 'netstat' : 'snmp'
  const text = host.inside(() => readFileSync(`/proc/thread-self/net/${file}`, 'utf8'))
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith(`${section}: `))
    .map((line) => line.split(' '))
  const value = values[names.indexOf(name)]
  if (value === undefined) throw new Error(`there is no counter ${section} ${name}`)
  return Number(value)
}

/** Waits until `condition` holds, for at most ten seconds. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`it never happened: ${what}`)
    await Bun.sleep(1)
  }
}
