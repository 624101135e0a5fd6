import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { closeOnSignal } from '../signals.ts'

/** What is being made, and has no key yet. */
const partialPrefix = 'partial-'
/** Milliseconds after which nobody can still be making it. */
const abandonedAfter = 3_600_000

/**
 * The directory `key` in `directory`: from earlier, or filled by `build` now. Of others the `kept` ones that were used last stay.
 * Two processes may build the same at once: each gets a complete one.
 */
export async function cachedDirectory(
  directory: string,
  key: string,
  kept: number,
  build: (into: string) => Promise<void>,
): Promise<string> {
  const wanted = join(directory, key)
  if (existsSync(wanted)) {
    const now = new Date()
    utimesSync(wanted, now, now)
    return wanted
  }
  mkdirSync(directory, { recursive: true })
  const partial = mkdtempSync(join(directory, partialPrefix))
  const remove = async (): Promise<void> => rmSync(partial, { recursive: true, force: true })
  const forgetSignals = closeOnSignal(remove)
  try {
    await build(partial)
    publish(partial, wanted)
  } finally {
    await remove()
    forgetSignals()
  }
  removeOld(directory, kept)
  return wanted
}

/** Gives what was made its name, unless another process was faster. */
function publish(partial: string, wanted: string): void {
  try {
    renameSync(partial, wanted)
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

function removeOld(directory: string, kept: number): void {
  const lastUse = (name: string): number => statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const names = readdirSync(directory).sort((a, b) => lastUse(b) - lastUse(a))
  const complete = names.filter((name) => !name.startsWith(partialPrefix))
  const abandoned = names.filter(
    (name) => name.startsWith(partialPrefix) && lastUse(name) < Date.now() - abandonedAfter,
  )
  for (const name of [...complete.slice(kept), ...abandoned]) {
    rmSync(join(directory, name), { recursive: true, force: true })
  }
}
