import type { HostProcess } from '../host-process.ts'
import { openFiles, ruleCount } from '../inspect.ts'
import type { Installation } from './installation.ts'

/** How long rules and files may take to go when the clients have gone, in milliseconds: longer than what catches late packets stays. */
const SETTLE_TIMEOUT = 10_000
const LOOK_INTERVAL = 100

/** Rules on every host and open files of every program, by words for what it is. */
export type Leftovers = ReadonlyMap<string, number>

/** What there is now. */
export function leftovers({ testbed, gateway, servers }: Installation): Leftovers {
  const programs = [gateway, ...servers]
  const hosts = testbed.hosts.filter(({ name }) => name !== 'client')
  return new Map([
    ...hosts.map((host) => [`rules on ${host.name}`, ruleCount(host)] as const),
    ...hosts.map(({ name }, index) => [`open files at ${name}`, openFiles(programs[index] as HostProcess)] as const),
  ])
}

/** Resolves with what there is more than before, as soon as that is nothing, or after a while. */
export async function whatIsLeft(installation: Installation, before: Leftovers): Promise<string[]> {
  const deadline = performance.now() + SETTLE_TIMEOUT
  for (;;) {
    const left = [...leftovers(installation)].filter(([what, count]) => count > (before.get(what) ?? 0))
    if (left.length === 0) return []
    if (performance.now() > deadline) return left.map(([what, count]) => `${count} ${what}, ${before.get(what)} before`)
    await Bun.sleep(LOOK_INTERVAL)
  }
}
