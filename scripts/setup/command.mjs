import { spawnSync } from 'node:child_process'
import { SetupFailure } from './failure.mjs'

/** An installer that takes longer than this hangs. */
const timeLimit = 15 * 60 * 1000

/** @param {string} text */
const lastLines = (text) => text.trimEnd().split('\n').slice(-15).join('\n')

/**
 * Runs an installer with its output kept back, so that a set-up that works says one line.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {{ ok: boolean, stdout: string, output: string }} `output` ends with the last lines of both streams.
 */
export const attempt = (program, args, options = {}) => {
  const { status, error, stdout, stderr } = spawnSync(program, args, {
    ...options,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeLimit,
    maxBuffer: 64 * 1024 * 1024,
  })
  const output = lastLines([stdout, stderr, error?.message].filter(Boolean).join('\n'))
  return { ok: status === 0, stdout: stdout ?? '', output }
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @throws {SetupFailure} With the last lines of the output, when the program does not end with 0.
 */
export const run = (program, args, options = {}) => {
  const result = attempt(program, args, options)
  if (!result.ok) throw new SetupFailure(`"${program} ${args.join(' ')}" failed:\n${result.output}`)
  return result
}
