import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inNetworkNamespace } from '@xoffload/linux'

let namespaces = 0

/** Runs a command to its end. Throws with what it said when it fails. */
export function run(...command: string[]): string {
  const [program = '', ...args] = command
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
  return stdout
}

/** A bpffs of its own. */
export class BpfDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'xoffload-bpf-'))

  constructor() {
    run('mount', '-t', 'bpf', 'bpf', this.path)
  }

  [Symbol.dispose](): void {
    run('umount', this.path)
    rmdirSync(this.path)
  }
}

/** A network namespace with a pair of connected devices, `veth0` and `veth1`, both up. */
export class TestNamespace implements Disposable {
  readonly name = `xolinux${process.pid}n${namespaces++}`

  constructor() {
    run('ip', 'netns', 'add', this.name)
    this.ip('link', 'set', 'lo', 'up')
    this.ip('link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1')
    for (const device of ['veth0', 'veth1']) this.ip('link', 'set', device, 'up')
  }

  ip(...args: string[]): string {
    return run('ip', '-n', this.name, ...args)
  }

  tc(...args: string[]): string {
    return run('tc', '-n', this.name, ...args)
  }

  /** Runs a synchronous function there. */
  inside<Result>(task: () => Result): Result {
    return inNetworkNamespace(`/run/netns/${this.name}`, task)
  }

  [Symbol.dispose](): void {
    if (existsSync(`/run/netns/${this.name}`)) run('ip', 'netns', 'del', this.name)
  }
}

/** The errno name of the `LinuxError` that a function throws. */
export function errnoOf(task: () => unknown): string {
  try {
    task()
  } catch (error) {
    return (error as { errno?: string }).errno ?? `not a LinuxError: ${error}`
  }
  return 'nothing was thrown'
}
