import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { FuzzFailure, fuzzInput } from '../../../packages/core/test/support/fuzz/index.ts'
import { Output } from '../output.ts'
import { tool } from '../tools.ts'
import { FuzzPosition } from './fuzz-position.ts'
import { fuzzTargets } from './fuzz-targets.ts'

export interface FuzzSoakOptions {
  /** All targets together. */
  readonly inputs: number
  /** A u32: the same inputs for the same seed. Default random. */
  readonly seed?: number
  /** Default one for each processor. */
  readonly processes?: number
  /** Called about once a second with the number of inputs so far. */
  readonly onProgress?: (inputs: number) => void
  /** How long one input may take, in milliseconds. Default 30,000; a process reports by itself what takes seconds. */
  readonly hangTime?: number
  /** What runs instead of fuzz-program.ts: for tests. */
  readonly program?: string
}

export interface FuzzSoakReport {
  readonly seed: number
  readonly inputs: number
  readonly seconds: number
  /** What to print: each has the reason and the command that shows it again. At most one for each target and process. */
  readonly failures: readonly string[]
}

const fuzzProgram = join(import.meta.dir, 'fuzz-program.ts')

const LOOK_INTERVAL = 500
/** What a process may have in memory, in bytes. */
const MEMORY_LIMIT = 2 * 1024 ** 3
const PAGE = 4096

/**
 * Feeds every decoder of every package with mutated and raw inputs, in several processes. A failure does not end it: the other
 * targets are fed all the same.
 */
export async function soakFuzz(options: FuzzSoakOptions): Promise<FuzzSoakReport> {
  const { inputs, processes = availableParallelism(), onProgress, hangTime = 30_000, program = fuzzProgram } = options
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0
  const started = performance.now()
  const directory = mkdtempSync(join(tmpdir(), 'xoffload-fuzz-'))
  try {
    const parts = Array.from(
      { length: processes },
      (_, part) =>
        new FuzzProcess(join(directory, `${part}`), { seed, inputs, part, parts: processes, hangTime, program }),
    )
    const done = (): number => parts.reduce((sum, part) => sum + part.inputs, 0)
    const timer = setInterval(() => onProgress?.(done()), 1000)
    try {
      const failures = await Promise.all(parts.map((part) => part.ended))
      return { seed, inputs: done(), seconds: (performance.now() - started) / 1000, failures: failures.flat() }
    } finally {
      clearInterval(timer)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

interface Part {
  readonly seed: number
  readonly inputs: number
  readonly part: number
  readonly parts: number
  readonly hangTime: number
  readonly program: string
}

/** One process, watched: what it does not live to tell is told here. It dies with this one. */
class FuzzProcess {
  /** Resolves with its failures. */
  readonly ended: Promise<string[]>
  readonly #position: FuzzPosition
  readonly #seed: number
  readonly #hangTime: number
  #killedFor: string | undefined

  constructor(file: string, { seed, inputs, part, parts, hangTime, program }: Part) {
    writeFileSync(file, new Uint8Array(FuzzPosition.byteLength))
    this.#position = new FuzzPosition(file)
    this.#seed = seed
    this.#hangTime = hangTime
    const numbers = [seed, inputs, part, parts].map(String)
    this.ended = this.#watch(
      Bun.spawn([tool('setpriv'), '--pdeathsig', 'KILL', '--', process.execPath, program, 'run', file, ...numbers], {
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      }),
    )
  }

  /** The number of inputs so far. */
  get inputs(): number {
    return this.#position.get().inputs
  }

  async #watch(child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>): Promise<string[]> {
    const failures: string[] = []
    const stdout = new Output(child.stdout)
    const stderr = new Output(child.stderr)
    stdout.onLine((line) => failures.push(JSON.parse(line)))
    let [inputs, since] = [0, performance.now()]
    const timer = setInterval(() => {
      if (this.inputs !== inputs) [inputs, since] = [this.inputs, performance.now()]
      if (performance.now() - since > this.#hangTime) this.#kill(child, `no end after ${this.#hangTime} ms`)
      const memory = residentBytes(child.pid)
      if (memory > MEMORY_LIMIT) this.#kill(child, `the process has ${memory} bytes in memory`)
    }, LOOK_INTERVAL)
    await Promise.all([child.exited, stdout.ended, stderr.ended])
    clearInterval(timer)
    const told = child.exitCode === 0 || (child.exitCode === 1 && failures.length > 0)
    if (!told) failures.push(this.#lastInput(`${this.#killedFor ?? exitOf(child)}\n${stderr.text.slice(-2000)}`))
    return failures
  }

  #kill(child: Bun.Subprocess, reason: string): void {
    this.#killedFor ??= reason
    child.kill('SIGKILL')
  }

  /** The failure of the input that the process was at. */
  #lastInput(reason: string): string {
    const { target: place, index } = this.#position.get()
    const target = fuzzTargets[place]
    if (target === undefined) return reason
    const input = fuzzInput(target, this.#seed, index)
    const where = `seed ${this.#seed}, input ${index}`
    return new FuzzFailure(target.name, input, where, { cause: new Error(reason) }).message
  }
}

function exitOf({ exitCode, signalCode }: Bun.Subprocess): string {
  return `the process ended with ${signalCode ?? exitCode}`
}

/** Resident memory; 0 when the process has ended. */
function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return 0
    throw error
  }
}
