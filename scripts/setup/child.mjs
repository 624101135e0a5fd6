import { spawn } from 'node:child_process'

/** Two of the same signal within this time are one: a terminal signals the whole group, and npm passes its own on. */
const repeatWindow = 500

/** @type {readonly NodeJS.Signals[]} */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Runs a program in this process's place: its streams, its signals, its end.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv }} options
 * @returns {Promise<{ code: number | null, signal: NodeJS.Signals | null }>}
 */
export const runInPlace = (program, args, options) =>
  new Promise((resolve, reject) => {
    // At a terminal the program gets a session of its own, so that Ctrl-C reaches it once: from here.
    const child = spawn(program, args, { ...options, stdio: 'inherit', detached: process.stdin.isTTY === true })
    const lastSent = new Map()
    for (const signal of forwarded) {
      process.on(signal, () => {
        const now = Date.now()
        if (now - (lastSent.get(signal) ?? Number.NEGATIVE_INFINITY) < repeatWindow) return
        lastSent.set(signal, now)
        child.kill(signal)
      })
    }
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      for (const name of forwarded) process.removeAllListeners(name)
      resolve({ code, signal })
    })
  })
