import type { Subprocess } from 'bun'
import { CommandError } from './errors.ts'

/** How long a tool that sets something up may take, in milliseconds. */
const toolTimeout = 20_000

/** The result of a command that has ended. */
export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/**
 * Runs a short tool to its end with `input` on its stdin. Throws {@link CommandError} when it fails, unless `mayFail`.
 * It has a process group of its own: Ctrl-C in a terminal must not stop a tool half way through a set-up.
 */
export async function runTool(command: readonly string[], input = '', mayFail = false): Promise<CommandResult> {
  const child = Bun.spawn([...command], {
    detached: true,
    stdin: new Blob([input]),
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: toolTimeout,
    killSignal: 'SIGKILL',
  })
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (!mayFail && child.exitCode !== 0) throw new CommandError(command, exitReason(child), stderr)
  return { stdout, stderr, exitCode: child.exitCode ?? -1 }
}

/** Words for how a process ended. */
export function exitReason(child: Pick<Subprocess, 'exitCode' | 'signalCode'>): string {
  return child.signalCode == null ? `ended with exit code ${child.exitCode}` : `was ended by ${child.signalCode}`
}
