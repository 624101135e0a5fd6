import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import {
  type AdoptingAgentOptions,
  type Host,
  type HostProcess,
  type NginxServerOptions,
  nginxServer,
  startAdoptingAgent,
} from '@xoffload/testbed'

/** The user of nginx's workers in Debian. */
const WWW_DATA = 33

/** What nginx serves in these tests. */
export const files = {
  '/1k': pattern(1024),
  '/20k': pattern(20_000),
  '/1m': pattern(1 << 20),
  '/empty': new Uint8Array(0),
}

let ports = 8000

/** Letters, so that an answer can be kept as text. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => 0x41 + ((index * 7 + (index >> 8)) % 26))
}

/** nginx on loopback with the shim, and an agent that clients connect to. */
export interface AdoptingNginx extends AsyncDisposable {
  readonly nginx: HostProcess
  readonly agent: HostProcess
  readonly agentOptions: AdoptingAgentOptions
  /** Of the connections that are adopted. */
  readonly url: string
  readonly port: number
}

export interface AdoptingNginxOptions extends Partial<NginxServerOptions> {
  /** Connections are taken back before each so many requests. */
  readonly every?: number
  /** Parameters of `listen`. */
  readonly flags?: string
  /** Default: one of its own. */
  readonly port?: number
}

export async function adoptingNginx(host: Host, options: AdoptingNginxOptions = {}): Promise<AdoptingNginx> {
  ports += 1
  const { every, flags = '', port = ports, ...others } = options
  const socket = join(host.directory, `preload-${ports}.sock`)
  const env = preloadEnvironment(socket)
  const nginx = await nginxServer(host, { port, listen: [`127.0.0.1:${port} ${flags}`], files, env, ...others })
  const agentOptions = {
    socket,
    listen: { address: host.ipv4, port },
    listener: { address: '127.0.0.1', port },
    users: [WWW_DATA],
    ...(every !== undefined && { every }),
  }
  const agent = await startAdoptingAgent(host, agentOptions)
  const close = async () => {
    await agent.stop()
    await nginx.stop()
  }
  return { nginx, agent, agentOptions, url: `http://${host.ipv4}:${port}`, port, [Symbol.asyncDispose]: close }
}

/** nginx's worker processes. */
export function workersOf({ pid }: HostProcess): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}

/** The descriptors that a process has open. */
export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** What nginx had to complain of. */
export function complaintsOf({ stderr }: HostProcess): string[] {
  return stderr.lines.filter((line) => /\[(warn|error|crit|alert|emerg)\]/.test(line))
}

/** Looks again and again until it is so: for what no event tells of. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not become so')
    await Bun.sleep(10)
  }
}
