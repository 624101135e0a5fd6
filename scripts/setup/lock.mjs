import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SetupFailure, say } from './failure.mjs'

const pollInterval = 200
const timeLimit = 15 * 60 * 1000

/** @param {unknown} error */
const codeOf = (error) => (error instanceof Error && 'code' in error ? error.code : undefined)

/**
 * When the process started, in clock ticks after boot (proc(5), field 22 of stat): tells it from a later one with its pid.
 *
 * @param {number} pid
 */
const startTime = (pid) => {
  try {
    // The second field is the program's name, which may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return fields[19] ?? ''
  } catch {
    return ''
  }
}

/** @param {string} owner */
const isAlive = (owner) => {
  const [pid = '0', start = ''] = owner.split(' ')
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
  }
  return startTime(Number(pid)) === start
}

/** @param {string} path */
const readOwner = (path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * @param {string} path
 * @param {string} candidate A file that holds the owner: a link makes the lock and its content appear in one step.
 */
const tryAcquire = (path, candidate) => {
  try {
    linkSync(candidate, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/**
 * Takes the lock of a dead owner away. Another process may have done so and locked in between: its lock is put back.
 *
 * @param {string} path
 * @param {string} owner
 */
const removeStale = (path, owner) => {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (readOwner(aside) !== owner) tryAcquire(path, aside)
  rmSync(aside, { force: true })
}

/**
 * Runs `body` while no other process holds the lock.
 *
 * @param {string} path
 * @param {() => void} body
 */
export const withLock = async (path, body) => {
  mkdirSync(dirname(path), { recursive: true })
  const candidate = `${path}.${process.pid}`
  writeFileSync(candidate, `${process.pid} ${startTime(process.pid)}`)
  try {
    const deadline = Date.now() + timeLimit
    for (let told = false; !tryAcquire(path, candidate); ) {
      const owner = readOwner(path)
      if (owner === undefined) continue
      if (!isAlive(owner)) {
        removeStale(path, owner)
        continue
      }
      const pid = owner.split(' ')[0]
      if (Date.now() > deadline) throw new SetupFailure(`process ${pid} has held ${path} for too long; end it first.`)
      if (!told) say(`waiting for another set-up (process ${pid})`)
      told = true
      await new Promise((resolve) => setTimeout(resolve, pollInterval))
    }
    try {
      body()
    } finally {
      rmSync(path, { force: true })
    }
  } finally {
    rmSync(candidate, { force: true })
  }
}
