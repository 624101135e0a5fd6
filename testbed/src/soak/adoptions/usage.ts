import { readdirSync, readFileSync } from 'node:fs'
import type { HostProcess } from '../../host-process.ts'
import type { AdoptionHosts } from './hosts.ts'

/** What is measured of a program: resident memory and that of its live objects, in bytes; and how many descriptors it has open. */
export type Metric = 'memory' | 'heap' | 'descriptors'

/** What a program holds at one moment; `heap` only of those that say it. */
export type Usage = { readonly [metric in Metric]?: number }

/** What the programs hold, by words for what each is, such as `server1 agent`. */
export class UsageProbe {
  readonly #hosts: AdoptionHosts
  #looks = 0

  constructor(hosts: AdoptionHosts) {
    this.#hosts = hosts
  }

  /** What costs nothing to look at. */
  get descriptors(): ReadonlyMap<string, number> {
    const { gateway, servers } = this.#hosts
    return new Map([
      ...servers.flatMap(({ name, nginx, agent }) => [
        [workers(name), sum(workersOf(nginx).map(descriptorsOf))] as const,
        [`${name} agent`, descriptorsOf(agent.pid)] as const,
      ]),
      ['gateway', descriptorsOf(gateway.pid)],
    ])
  }

  /** Lets the programs collect their garbage, and measures all of it. */
  async look(): Promise<ReadonlyMap<string, Usage>> {
    this.#looks += 1
    const { gateway, servers } = this.#hosts
    const descriptors = this.descriptors
    const usages = new Map<string, Usage>()
    for (const { name, nginx } of servers) usages.set(workers(name), { memory: sum(workersOf(nginx).map(memoryOf)) })
    for (const { name, agent } of servers) usages.set(`${name} agent`, await this.#afterCollection(agent))
    usages.set('gateway', await this.#afterCollection(gateway))
    return new Map([...usages].map(([what, usage]) => [what, { ...usage, descriptors: descriptors.get(what) ?? 0 }]))
  }

  async #afterCollection(program: HostProcess): Promise<Usage> {
    process.kill(program.pid, 'SIGUSR2')
    const line = await program.line(new RegExp(`^\\{"event":"heap","number":${this.#looks},`))
    const { bytes } = JSON.parse(line) as { readonly bytes: number }
    return { memory: memoryOf(program.pid), heap: bytes }
  }
}

function workers(server: string): string {
  return `${server} nginx workers`
}

function workersOf({ pid }: HostProcess): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number)
}

function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
