// Kills a process that owns a device. For tests inside the guest.
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Rule } from '@xoffload/core'
import { rulesToText } from '../../../../packages/redirect-ebpf/test/netns/conformance/rule-text.ts'

export interface CrashProgram extends AsyncDisposable {
  /** Opens the device in another process, puts the rules, and resolves when that process is dead. */
  crash(kind: string, device: string, rules: readonly Rule[]): Promise<void>
}

/** One file instead of a hundred modules, which the guest would read from the host for each process: 0.5 s instead of 2. */
export async function buildCrashProgram(): Promise<CrashProgram> {
  const directory = await mkdtemp(join(tmpdir(), 'xoffload-crash-'))
  const worker = new URL('worker.ts', import.meta.resolve('@xoffload/redirect-flower')).pathname
  const owner = new URL('flower-owner.ts', import.meta.url).pathname
  // As in the published packages: the worker beside it, the BPF objects in a folder beside that.
  const outdir = join(directory, 'dist')
  await Bun.build({ entrypoints: [owner, worker], outdir, naming: '[name].js', target: 'bun' })
  const objects = new URL('../bpf', import.meta.resolve('@xoffload/redirect-ebpf')).pathname
  await cp(objects, join(directory, 'bpf'), { recursive: true })
  return {
    async crash(kind, device, rules) {
      const command = [process.execPath, join(outdir, 'flower-owner.js'), kind, device, rulesToText(rules)]
      const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' })
      const { value } = await child.stdout.getReader().read()
      child.kill('SIGKILL')
      await child.exited
      if (value === undefined) throw new Error('the process has not put the rules')
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
}
