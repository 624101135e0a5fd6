/** Milliseconds; a check that takes longer hangs. */
const timeLimit = 10 * 60_000

/** Runs a tool to its end. Resolves to nothing when it ends with 0, else to the command, how it ended and its output. */
export async function failureOf(
  command: readonly string[],
  options: { readonly cwd: string },
): Promise<string | undefined> {
  const { exitCode, output } = await capture(command, options)
  return exitCode === 0 ? undefined : `$ ${command.join(' ')}\n${output}\nended with ${exitCode ?? 'a signal'}`
}

/** Runs a tool to its end and keeps what it prints. */
export async function capture(
  command: readonly string[],
  options: { readonly cwd: string },
): Promise<{ exitCode: number | null; stdout: string; output: string }> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: timeLimit,
  })
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { exitCode: child.exitCode, stdout, output: `${stdout}${stderr}`.trimEnd() }
}
