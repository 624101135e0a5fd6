import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { exitReason } from '../command.ts'
import { CommandError } from '../errors.ts'
import { tool } from '../tools.ts'
import { cachedDirectory } from './cache.ts'
import { checkout, type GuestKernel, guestFiles } from './kernel.ts'

const source = join(checkout, 'testbed/nic')
const keptBuilds = 2
/** Milliseconds that compiling may take on a machine that is busy with other things. */
const buildTimeout = 180_000

let building: Promise<string> | undefined

/**
 * The file of the virtual NIC's kernel module (`testbed/nic`): kept from earlier, unless its source or the kernel has changed.
 * Throws {@link CommandError} with the compiler's words.
 */
export function nicModule(kernel: GuestKernel): Promise<string> {
  building ??= findOrBuild(kernel).catch((error: unknown) => {
    building = undefined
    throw error
  })
  return building
}

async function findOrBuild(kernel: GuestKernel): Promise<string> {
  const files = readdirSync(source).filter((name) => /^Makefile$|\.[ch]$/.test(name))
  const hash = new Bun.CryptoHasher('sha256').update(kernel.release)
  for (const file of files.sort()) hash.update(`\0${file}\0`).update(await Bun.file(join(source, file)).bytes())
  const key = hash.digest('hex').slice(0, 32)
  const directory = await cachedDirectory(join(guestFiles, 'nic'), key, keptBuilds, async (into) => {
    // make writes beside the sources.
    for (const file of files) cpSync(join(source, file), join(into, file))
    await make(['-C', kernel.headers, `M=${into}`, 'modules'])
  })
  return join(directory, 'xoffload_nic.ko')
}

async function make(args: readonly string[]): Promise<void> {
  const command = [tool('make'), '--silent', ...args]
  const child = Bun.spawn(command, {
    detached: true,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: buildTimeout,
    killSignal: 'SIGKILL',
  })
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (child.exitCode !== 0) throw new CommandError(command, exitReason(child), `${stdout}${stderr}`.slice(-4_000))
}
