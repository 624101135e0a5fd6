import { readdir, readFile, readlink } from 'node:fs/promises'
import type { Check } from './check.ts'
import { capture } from './command.ts'

/** The tests' processes inherit this variable, so that those that outlive the tests are found. */
export const testRunVariable = 'XOFFLOAD_TEST_RUN'

const pollInterval = 100

/** What exists on the machine and could be left over, by kind; one line for each thing. */
type Inventory = Readonly<Record<Kind, ReadonlySet<string>>>
type Kind = keyof typeof collectors

const collectors = {
  'network namespaces': async () => (await list('/run/netns')).filter((name) => /^xo/.test(name)),
  'files of testbeds': () => list('/run/xoffload-testbed'),
  processes: processesOfTests,
  'devices, BPF programs and filters on the host': devicesAndFilters,
  'pinned BPF objects': async () => (await list('/sys/fs/bpf')).filter((name) => !name.endsWith('.debug')),
}

/**
 * A check for each kind of thing that tests could leave behind. Call before the tests; run the checks after them.
 *
 * A BPF program lives as long as something refers to it: a process, a device (in a namespace, or on the host), or a pin.
 * With none of these left, no program is.
 *
 * @param settleTime Milliseconds that the kernel may take to end killed processes and to take namespaces apart.
 */
export async function leftoverChecks(settleTime = 5_000): Promise<Check[]> {
  const before = await takeInventory()
  return (Object.keys(collectors) as Kind[]).map((kind) => ({
    name: `no ${kind} left behind`,
    async run() {
      const deadline = performance.now() + settleTime
      for (;;) {
        const found = [...(await collectors[kind]())].filter((line) => !before[kind].has(line))
        if (found.length === 0) return
        if (performance.now() > deadline) return `left behind:\n${found.map((line) => `  ${line}`).join('\n')}`
        await Bun.sleep(pollInterval)
      }
    },
  }))
}

async function takeInventory(): Promise<Inventory> {
  const entries = (Object.keys(collectors) as Kind[]).map(async (kind) => [kind, new Set(await collectors[kind]())])
  return Object.fromEntries(await Promise.all(entries))
}

/** Names in a directory; none when it does not exist. */
async function list(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/**
 * Processes that were started by the tests: those with the variable in their environment, and those in a network namespace
 * that is not this process's (nginx overwrites its environment with its title).
 */
async function processesOfTests(): Promise<string[]> {
  const mark = `${testRunVariable}=${process.env[testRunVariable]}\0`
  const ownNamespace = await readlink('/proc/self/ns/net')
  const found: string[] = []
  for (const pid of (await list('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const environment = await readFile(`/proc/${pid}/environ`, 'latin1')
      if (!environment.includes(mark) && (await readlink(`/proc/${pid}/ns/net`)) === ownNamespace) continue
      const commandLine = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim()
      // A process without a command line is a zombie, of which only the exit code is left, or belongs to the kernel.
      if (commandLine !== '') found.push(`${pid} ${commandLine}`)
    } catch (error) {
      // It ended meanwhile, or belongs to another user, which no child of the tests does.
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EACCES' && code !== 'EPERM') throw error
    }
  }
  return found
}

/** The host's devices with their XDP programs, and the tc programs and filters on them. */
async function devicesAndFilters(): Promise<string[]> {
  const { stdout: links } = await capture(['ip', '-oneline', 'link', 'show'], { cwd: '/' })
  const devices = links.split('\n').flatMap((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? [])
  const lines = devices.map((device) => `device ${device}`)
  for (const line of links.split('\n')) {
    const program = /\bprog\/xdp id \d+/.exec(line)?.[0]
    if (program !== undefined) lines.push(`${line.split(':')[1]?.trim()}: ${program}`)
  }
  for (const device of devices) {
    for (const hook of ['ingress', 'egress']) {
      const { stdout } = await capture(['tc', 'filter', 'show', 'dev', device, hook], { cwd: '/' })
      for (const line of stdout.split('\n').filter(Boolean)) lines.push(`${device} ${hook}: ${line.trim()}`)
    }
  }
  const { stdout: disciplines } = await capture(['tc', 'qdisc', 'show'], { cwd: '/' })
  for (const line of disciplines.split('\n')) if (line.includes('clsact')) lines.push(line.trim())
  return lines
}
