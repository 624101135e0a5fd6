import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

/** What the testbed needs of `/proc/PID/stat` (man 5 proc_pid_stat). */
export interface ProcessStatus {
  readonly pid: number
  readonly state: string
  readonly session: number
  /** User and system time of the process itself, in clock ticks. */
  readonly ownTicks: number
  /** The same of its children that ended and were waited for. */
  readonly childrenTicks: number
  /** Clock ticks after boot. With the pid it identifies a process for as long as the machine is up. */
  readonly startTime: number
}

/** USER_HZ, which is 100 on every Linux architecture that Bun runs on (include/asm-generic/param.h). */
export const ticksPerSecond = 100

/** The status of a process, undefined when there is none. */
export function processStatus(pid: number): ProcessStatus | undefined {
  const text = readOrUndefined(`/proc/${pid}/stat`)
  if (text === undefined) return undefined
  // The command's name may hold spaces and parentheses: the fields start after the last one. fields[0] is field 3.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const number = (field: number): number => Number(fields[field - 3])
  return {
    pid,
    state: fields[0] ?? '',
    session: number(6),
    ownTicks: number(14) + number(15),
    childrenTicks: number(16) + number(17),
    startTime: number(22),
  }
}

/** The pids of all processes. */
export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** The inode of the network namespace at a path such as `/run/netns/NAME`, undefined when there is none. */
export function namespaceInode(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino
}

/** The inode of a process's network namespace, undefined when the process has ended or is a zombie. */
export function networkNamespaceOf(pid: number): number | undefined {
  try {
    return Number(/^net:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[1])
  } catch {
    return undefined
  }
}

/** The processes inside any of the network namespaces, except this one. */
export function processesInside(namespaces: ReadonlySet<number>): number[] {
  return allPids().filter((pid) => pid !== process.pid && namespaces.has(networkNamespaceOf(pid) ?? -1))
}

/**
 * Clock ticks of a session: its living processes, and those of its ended ones that a member waited for.
 * `leader` is the session's id.
 */
export function sessionTicks(leader: number): number {
  let ticks = 0
  for (const pid of allPids()) {
    const status = processStatus(pid)
    if (status?.session === leader) ticks += status.ownTicks + status.childrenTicks
  }
  return ticks
}

/** Whether a TCP socket listens on the port in the network namespace that the process is in (`/proc/PID/net/tcp`). */
export function listensOn(pid: number, port: number): boolean {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return ['tcp', 'tcp6'].some((table) =>
    (readOrUndefined(`/proc/${pid}/net/${table}`) ?? '').split('\n').some((line) => {
      const [, local, , state] = line.trim().split(/\s+/)
      // 0A is TCP_LISTEN (include/net/tcp_states.h).
      return state === '0A' && local?.split(':')[1] === wanted
    }),
  )
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
