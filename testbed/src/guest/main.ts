// Runs a command in a guest: `npm run guest -- -- COMMAND`. The test runner runs `bun test` with it.
import { parseArgs } from 'node:util'
import { TestbedError } from '../errors.ts'
import { Guest } from './guest.ts'

const usage = `npm run guest -- [--share DIRECTORY] [--timeout SECONDS] [--memory MIB] -- COMMAND [ARGUMENT ...]

Runs a command on a Debian kernel in QEMU, with the files of this machine, which it cannot change. Its exit code is that of the
command, or 1 with a message when the guest's kernel gave a warning meanwhile.

  --share DIRECTORY    the command may write to this directory
  --timeout SECONDS    until the command is killed; default 600
  --memory MIB         default 768: room for some programs with Bun`

class UsageError extends TestbedError {}

interface Request {
  readonly command: readonly [string, ...string[]]
  readonly share: string | undefined
  readonly timeout: number
  readonly memory: number
}

function requestOf(args: readonly string[]): Request {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { share: { type: 'string' }, timeout: { type: 'string' }, memory: { type: 'string' } },
  })
  const [program, ...words] = positionals
  const timeout = Number(values.timeout ?? 600) * 1000
  const memory = Number(values.memory ?? 768)
  if (program === undefined) throw new UsageError('A command is missing')
  if (!(timeout > 0) || !Number.isInteger(memory) || memory < 128)
    throw new UsageError('--timeout or --memory is no number')
  return { command: [program, ...words], share: values.share, timeout, memory }
}

async function main({ command, share, timeout, memory }: Request): Promise<number> {
  await using guest = await Guest.start({ memory, ...(share === undefined ? {} : { share }) })
  const onOutput = (bytes: Uint8Array, stream: 'stdout' | 'stderr'): void => void process[stream].write(bytes)
  const { exitCode } = await guest.run(command, { timeout, allowFailure: true, onOutput })
  return exitCode
}

try {
  const args = process.argv.slice(2)
  if (args.includes('--help') && !args.includes('--')) process.stdout.write(`${usage}\n`)
  else process.exitCode = await main(requestOf(args))
} catch (error) {
  const isUsage = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS')
  if (!(error instanceof TestbedError) && !isUsage) throw error
  process.stderr.write(`npm run guest: ${(error as Error).message}\n${isUsage ? `${usage}\n` : ''}`)
  process.exitCode = 1
}
