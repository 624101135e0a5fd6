import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'

/** A time in which a CPU stood still, or anything else with a beginning and an end; milliseconds since the epoch. */
export interface Pause {
  readonly from: number
  readonly to: number
}

/** What the hypervisor kept from this machine. */
export interface Withheld {
  /** What one CPU and another did at the same time is one pause. */
  readonly pauses: readonly Pause[]
  /** The share of all CPU time that it gave to other machines, in pauses of any length: `steal` in /proc/stat (proc_stat(5)). */
  readonly stolen: number
}

/** Notes when this machine's CPUs stand still, because its hypervisor gives them to other machines. */
export class PauseWatch {
  readonly #pauses: Pause[] = []
  readonly #watchers: readonly HostProcess[]
  readonly #begin = cpuTime()

  private constructor(watchers: readonly HostProcess[]) {
    this.#watchers = watchers
    for (const watcher of watchers) {
      watcher.stdout.onLine((line) => {
        if (line.startsWith('{"from"')) this.#pauses.push(JSON.parse(line))
      })
    }
  }

  /** Starts a program for each CPU, which ends with the host. Throws {@link CommandError} where there is no real-time priority. */
  static async start(host: Host): Promise<PauseWatch> {
    const program = join(import.meta.dir, 'watch.ts')
    const watchers = await Promise.all(
      usableCpus().map((cpu) =>
        host.spawn([tool('taskset'), '-c', `${cpu}`, tool('chrt'), '--fifo', '99', process.execPath, program]),
      ),
    )
    const watch = new PauseWatch(watchers)
    await Promise.all(watchers.map((watcher) => watcher.line(/"watching"/)))
    return watch
  }

  /** Ends the watch. */
  async stop(): Promise<Withheld> {
    const end = cpuTime()
    for (const watcher of this.#watchers) watcher.signal('SIGTERM')
    await Promise.all(this.#watchers.map(({ exited }) => exited))
    const stolen = (end.stolen - this.#begin.stolen) / Math.max(end.all - this.#begin.all, 1)
    return { pauses: joined(this.#pauses), stolen }
  }
}

/** Pauses in order of time; those that overlap are one. */
export function joined(pauses: readonly Pause[]): Pause[] {
  const result: { from: number; to: number }[] = []
  for (const { from, to } of [...pauses].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1)
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to)
    else result.push({ from, to })
  }
  return result
}

/** How long something took of which the machine stood still in none, in milliseconds. The pauses must not overlap. */
export function withoutPauses({ from, to }: Pause, pauses: readonly Pause[]): number {
  const inside = (pause: Pause): number => Math.max(Math.min(pause.to, to) - Math.max(pause.from, from), 0)
  return pauses.reduce((length, pause) => length - inside(pause), to - from)
}

/** Numbers of the CPUs that programs may run on here: `0-1,4` in /proc/self/status (proc(5)). */
function usableCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/** Clock ticks of all CPUs since the machine started. Guest time, the last two fields, is in user time too. */
function cpuTime(): { readonly all: number; readonly stolen: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n', 1)
  const ticks = line.split(/\s+/).slice(1, 9).map(Number)
  return { all: ticks.reduce((sum, each) => sum + each, 0), stolen: ticks[7] ?? 0 }
}
