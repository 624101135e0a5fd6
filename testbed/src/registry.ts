import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { TestbedError } from './errors.ts'
import { deleteNamespaces, namespacePath } from './network.ts'
import { namespaceInode, processesInside, processStatus } from './proc.ts'

/** One directory per testbed. Its name says who owns the testbed; its files are the testbed's files. */
const registryDirectory = '/run/xoffload-testbed'

/** How long killed processes may take to be gone, in milliseconds. */
const killTimeout = 5_000

let made = 0

/** The directory of a testbed. */
export function testbedDirectory(id: string): string {
  return join(registryDirectory, id)
}

/** The namespace of one of its hosts. */
export function namespaceName(id: string, host: string): string {
  return `xo-${id}-${host}`
}

/**
 * Enters a new testbed of this process and returns its id: pid, start time and a count, to base 36. Owner and entry are one
 * name, made in one step, so no other process can ever see an entry whose owner it does not know.
 */
export function enterTestbed(): string {
  const startTime = processStatus(process.pid)?.startTime
  if (startTime === undefined) throw new TestbedError('This process is not in /proc: mount it')
  mkdirSync(registryDirectory, { recursive: true, mode: 0o755 })
  made += 1
  const id = [process.pid, startTime, made].map((number) => number.toString(36)).join('-')
  mkdirSync(testbedDirectory(id), { mode: 0o755 })
  return id
}

/** The ids of testbeds whose owner is no longer alive. */
export function abandonedTestbeds(): string[] {
  if (!existsSync(registryDirectory)) return []
  return readdirSync(registryDirectory).filter((id) => {
    const parts = /^([0-9a-z]+)-([0-9a-z]+)-[0-9a-z]+$/.exec(id)
    if (parts === null) return false
    const owner = processStatus(Number.parseInt(parts[1] ?? '', 36))
    return owner === undefined || owner.state === 'Z' || owner.startTime !== Number.parseInt(parts[2] ?? '', 36)
  })
}

/**
 * Kills every process in the testbed's namespaces, deletes these, and then the entry with its files. May run more than once,
 * also at the same time in two processes. The entry goes last: if this is interrupted, the next start finds it again.
 */
export async function removeTestbed(id: string): Promise<void> {
  const namespaces = namespacesOf(id)
  await killProcessesInside(namespaces)
  await deleteNamespaces(namespaces)
  rmSync(testbedDirectory(id), { recursive: true, force: true })
}

/** Removes the testbeds whose owner was killed. */
export async function removeAbandonedTestbeds(): Promise<void> {
  for (const id of abandonedTestbeds()) await removeTestbed(id)
}

function namespacesOf(id: string): string[] {
  const directory = namespacePath('')
  if (!existsSync(directory)) return []
  return readdirSync(directory).filter((name) => name.startsWith(namespaceName(id, '')))
}

async function killProcessesInside(namespaces: readonly string[]): Promise<void> {
  const inodes = namespaces.map((name) => namespaceInode(namespacePath(name)))
  const inside = new Set(inodes.filter((inode) => inode !== undefined))
  const deadline = performance.now() + killTimeout
  // Again and again, since a process may have forked while its parent was being killed.
  for (let pids = processesInside(inside); pids.length > 0; pids = processesInside(inside)) {
    if (performance.now() > deadline) {
      throw new TestbedError(
        `Processes ${pids.join(', ')} in ${namespaces.join(', ')} do not end although they were killed`,
      )
    }
    for (const pid of pids) killIfAlive(pid)
    await Bun.sleep(2)
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
