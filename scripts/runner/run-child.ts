/** Milliseconds between the polite signal and the last one, for a child that took too long. */
const killDelay = 10_000

/**
 * Runs a child on this process's streams (or on none, when it is to be quiet), passes SIGINT and SIGTERM on to it, and ends it when it takes longer than
 * `timeout` milliseconds. After such a signal this process ends too, as soon as the child has.
 *
 * @returns How the child ended, in words: `exit code 0`, `SIGSEGV`, ...
 */
export async function runChild(
  command: readonly string[],
  options: { readonly cwd: string; readonly timeout: number; readonly quiet?: boolean },
): Promise<string> {
  const output = options.quiet === true ? 'ignore' : 'inherit'
  const child = Bun.spawn([...command], { cwd: options.cwd, stdin: 'ignore', stdout: output, stderr: output })
  let received: NodeJS.Signals | undefined
  const forward = (signal: NodeJS.Signals) => {
    received = signal
    child.kill(signal)
  }
  process.on('SIGINT', forward)
  process.on('SIGTERM', forward)
  let late = false
  const timers = [
    setTimeout(() => {
      late = true
      child.kill('SIGTERM')
    }, options.timeout),
    setTimeout(() => child.kill('SIGKILL'), options.timeout + killDelay),
  ]
  await child.exited
  for (const timer of timers) clearTimeout(timer)
  process.off('SIGINT', forward)
  process.off('SIGTERM', forward)
  if (received !== undefined) process.kill(process.pid, received)
  if (late) return `no end within ${options.timeout / 1000} s`
  return child.signalCode == null ? `exit code ${child.exitCode}` : `${child.signalCode}`
}
