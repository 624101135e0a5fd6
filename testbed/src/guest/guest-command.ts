import type { CommandResult } from '../command.ts'
import { CommandError } from '../errors.ts'
import type { Channel } from './channel.ts'
import { encodeCommand, type Frame, frameType } from './frame.ts'

export interface GuestRunOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Default: this process's working directory. */
  readonly cwd?: string
  /** Milliseconds until the command is killed. Default 60,000: the guest is some fifteen times slower than the host. */
  readonly timeout?: number
  /** Kills the command, which {@link CommandError} then tells. */
  readonly signal?: AbortSignal
  /** Return instead of throwing when the exit code is not 0. */
  readonly allowFailure?: boolean
  /** Is given what the command writes, as it comes. Nothing is kept then. */
  readonly onOutput?: (bytes: Uint8Array, stream: OutputStream) => void
}

/** What {@link runInGuest} does when the guest does not end a command in time that it was told to kill. */
export interface HangPolicy {
  /** Milliseconds. */
  readonly timeout: number
  readonly onHang: () => void
}

export type OutputStream = 'stdout' | 'stderr'

const defaultTimeout = 60_000
/** How much output of a command is kept, in bytes of both streams together. */
const maxOutput = 16 * 1024 * 1024

/**
 * Runs a command in the guest to its end. Throws {@link CommandError} when it takes too long, is aborted, writes too much or, unless
 * allowed, fails. Rejects as the channel does when that ends.
 */
export async function runInGuest(
  channel: Channel,
  id: number,
  command: readonly string[],
  options: GuestRunOptions,
  hang: HangPolicy,
): Promise<CommandResult> {
  const environment = { ...ownEnvironment(), ...options.env }
  const payload = encodeCommand(command, environment, options.cwd ?? process.cwd())
  const output = new CollectedOutput()
  const exit = Promise.withResolvers<number>()
  let killed: string | undefined
  let hangTimer: Timer | undefined
  const kill = (reason: string): void => {
    if (killed !== undefined) return
    killed = reason
    channel.send(frameType.kill, id)
    hangTimer = setTimeout(hang.onHang, hang.timeout)
  }
  const stop = channel.listen(id, (frame) => {
    if (frame.type === frameType.exit) return exit.resolve(waitStatus(frame))
    const stream = frame.type === frameType.stdout ? 'stdout' : 'stderr'
    if (options.onOutput !== undefined) options.onOutput(frame.payload.slice(), stream)
    else if (!output.add(frame.payload, stream)) kill(`wrote more than ${maxOutput} bytes`)
  })
  const timeout = options.timeout ?? defaultTimeout
  const timer = setTimeout(() => kill(`took longer than ${timeout} ms in the guest`), timeout)
  const onAbort = (): void => kill('was aborted')
  options.signal?.addEventListener('abort', onAbort)
  try {
    channel.send(frameType.run, id, payload)
    if (options.signal?.aborted === true) onAbort()
    const status = await Promise.race([exit.promise, channel.lost])
    const result = { ...output.text(), exitCode: exitCode(status) }
    const isFailure = result.exitCode !== 0 && options.allowFailure !== true
    const reason = killed ?? (isFailure ? exitWords(status) : undefined)
    if (reason !== undefined) throw new CommandError(command, reason, (result.stderr || result.stdout).slice(-2_000))
    return result
  } finally {
    clearTimeout(timer)
    clearTimeout(hangTimer)
    options.signal?.removeEventListener('abort', onAbort)
    stop()
  }
}

function ownEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(entries)
}

class CollectedOutput {
  readonly #chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
  #length = 0

  /** Whether there was room for it. */
  add(bytes: Uint8Array, stream: OutputStream): boolean {
    if (this.#length + bytes.length > maxOutput) return false
    this.#length += bytes.length
    this.#chunks[stream].push(bytes.slice())
    return true
  }

  text(): { stdout: string; stderr: string } {
    const text = (stream: OutputStream): string => Buffer.concat(this.#chunks[stream]).toString()
    return { stdout: text('stdout'), stderr: text('stderr') }
  }
}

/** The status as wait(2) gives it. */
function waitStatus({ payload }: Frame): number {
  return new DataView(payload.buffer, payload.byteOffset, payload.length).getInt32(0, true)
}

/** As a shell gives it: 128 and the signal's number for a signal. */
function exitCode(status: number): number {
  const signal = status & 0x7f
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal
}

function exitWords(status: number): string {
  const signal = status & 0x7f
  return signal === 0 ? `ended with exit code ${exitCode(status)}` : `was ended by signal ${signal}`
}
