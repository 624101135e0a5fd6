import { readFileSync, writeFileSync } from 'node:fs'
import { check, libc } from '../../src/ffi/libc.ts'
import { inNetworkNamespace } from '../../src/netns.ts'
import { accept, connectSocket, freshPort, listen, type Pair, tcpSocket } from '../tcp-support.ts'

const CLONE_NEWNET = 0x40000000
const O_RDONLY_CLOEXEC = 0o2000000

/**
 * A network namespace that lives as long as this object and its sockets. `run` moves the calling thread into it for the time of a
 * synchronous function: sockets that it makes stay in the namespace.
 */
export class TestNamespace {
  readonly #fd: number

  constructor() {
    const home = openNamespace()
    check('unshare', libc.unshare(CLONE_NEWNET))
    this.#fd = openNamespace()
    check('setns', libc.setns(home, CLONE_NEWNET))
    check('close', libc.close(home))
    this.run(() => ip('link set lo up'))
  }

  get path(): string {
    return `/proc/${process.pid}/fd/${this.#fd}`
  }

  run<T>(body: () => T): T {
    return inNetworkNamespace(this.path, body)
  }

  sysctl(name: string, value: number | string): void {
    this.run(() => writeFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, String(value)))
  }

  /** A counter of the namespace's TCP, such as `OutRsts` (/proc/net/snmp) or `TCPWinProbe` (/proc/net/netstat). */
  counter(name: string): number {
    return this.run(() => {
      for (const file of ['snmp', 'netstat']) {
        const lines = readFileSync(`/proc/thread-self/net/${file}`, 'utf8').split('\n')
        for (let index = 0; index + 1 < lines.length; index += 2) {
          const column = lines[index]?.split(' ').indexOf(name) ?? -1
          if (column > 0) return Number(lines[index + 1]?.split(' ')[column])
        }
      }
      throw new Error(`no counter ${name}`)
    })
  }

  close(): void {
    check('close', libc.close(this.#fd))
  }
}

function openNamespace(): number {
  return check('open', libc.open(Buffer.from('/proc/thread-self/ns/net\0'), O_RDONLY_CLOEXEC, 0))
}

/** Runs ip(8) in the namespace that the calling thread is in. Returns what it printed. */
export function ip(commandLine: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(['ip', ...commandLine.split(' ')])
  if (exitCode !== 0) throw new Error(`ip ${commandLine}: ${stderr.toString()}`)
  return stdout.toString()
}

const NOBODY = '02:00:00:00:00:99'

/** Two hosts with one wire: 10.0.0.1 and fd00::1 on the client's side, 10.0.0.2 and fd00::2 on the service's. */
export class TwoHosts {
  readonly client = new TestNamespace()
  readonly service = new TestNamespace()

  constructor() {
    this.client.run(() => ip(`link add wire type veth peer name wire netns ${this.service.path}`))
    for (const [host, number] of [
      [this.client, 1],
      [this.service, 2],
    ] as const) {
      host.run(() => {
        ip(`address add 10.0.0.${number}/24 dev wire`)
        ip(`address add fd00::${number}/64 dev wire nodad`)
        ip('link set wire up')
      })
    }
    // Known neighbours from the start: no discovery delays a first packet.
    this.unmute('client')
    this.unmute('service')
  }

  /** A connection over the wire. `configure` sees the listener and the client's socket before they meet. */
  connect(family: 4 | 6, configure: (fd: number) => void = () => {}): Pair {
    const address = family === 4 ? '10.0.0.2' : 'fd00::2'
    const port = freshPort()
    const listener = this.service.run(() => listen({ address, port }))
    const client = this.client.run(() => tcpSocket(address))
    for (const fd of [listener, client]) configure(fd)
    this.client.run(() => connectSocket(client, address, port))
    return { listener, client, service: accept(listener) }
  }

  /** Sends what one host says into the void until `unmute`: its frames get a MAC address that nobody has. */
  mute(host: 'client' | 'service'): void {
    this.#neighbour(host, NOBODY)
  }

  unmute(host: 'client' | 'service'): void {
    this.#neighbour(host, this.#macAddress(host === 'client' ? this.service : this.client))
  }

  #neighbour(host: 'client' | 'service', macAddress: string): void {
    const other = host === 'client' ? 2 : 1
    this[host].run(() => {
      ip(`neighbour replace 10.0.0.${other} lladdr ${macAddress} dev wire nud permanent`)
      ip(`neighbour replace fd00::${other} lladdr ${macAddress} dev wire nud permanent`)
    })
  }

  #macAddress(host: TestNamespace): string {
    const [link] = JSON.parse(host.run(() => ip('-json link show wire'))) as [{ address: string }]
    return link.address
  }

  close(): void {
    this.client.run(() => ip('link delete wire'))
    this.client.close()
    this.service.close()
  }
}
