import type { Subprocess } from 'bun'
import { exitReason } from './command.ts'
import { CommandError } from './errors.ts'
import { Output } from './output.ts'
import { listensOn, networkNamespaceOf, sessionTicks, ticksPerSecond } from './proc.ts'

/** How often a state that the kernel gives no event for is looked at, in milliseconds. */
const lookInterval = 2
/** How long a program may take to be ready, in milliseconds, unless told otherwise. */
const readyTimeout = 10_000

export interface WaitOptions {
  /** Milliseconds; default 10,000. */
  readonly timeout?: number
}

/** A program that runs on a host, in a session and process group of its own. */
export class HostProcess implements AsyncDisposable {
  readonly command: readonly string[]
  readonly stdout: Output
  readonly stderr: Output
  readonly #child: Subprocess<'ignore' | Blob, 'pipe', 'pipe'>
  readonly #namespaceInode: number

  /** For {@link Host.spawn}. */
  constructor(command: readonly string[], child: Subprocess<'ignore' | Blob, 'pipe', 'pipe'>, namespaceInode: number) {
    this.command = command
    this.#child = child
    this.#namespaceInode = namespaceInode
    this.stdout = new Output(child.stdout)
    this.stderr = new Output(child.stderr)
  }

  get pid(): number {
    return this.#child.pid
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode == null
  }

  /** Resolves with the exit code when the program has ended (128 and the signal's number for a signal) and all its output is in. */
  get exited(): Promise<number> {
    return Promise.all([this.#child.exited, this.stdout.ended, this.stderr.ended]).then(([code]) => code)
  }

  /** How the program ended, in words. */
  get exitReason(): string {
    return this.running ? 'is running' : exitReason(this.#child)
  }

  /** Sends a signal to the program and all processes of its group. */
  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  /** Asks the program to end with SIGTERM, and kills it when it has not done so after `timeout` (default 2,000 ms). */
  async stop(options: WaitOptions = {}): Promise<number> {
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), options.timeout ?? 2_000)
    try {
      return await this.#child.exited
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * CPU seconds of the program and its descendants so far, user and system, in steps of 10 ms. Work that the kernel does in
   * software interrupts is not in it, or is in the figure of whichever process was interrupted.
   */
  cpuSeconds(): number {
    if (this.running) return sessionTicks(this.pid) / ticksPerSecond
    return Number(this.#child.resourceUsage()?.cpuTime.total ?? 0) / 1e6
  }

  /** Resolves when a socket listens on the TCP port. Throws {@link CommandError} when the program ends or takes too long. */
  async listening(port: number, options: WaitOptions = {}): Promise<void> {
    const deadline = performance.now() + (options.timeout ?? readyTimeout)
    // Before nsenter has entered the namespace, the tables are those of this process's own namespace.
    while (networkNamespaceOf(this.pid) !== this.#namespaceInode || !listensOn(this.pid, port)) {
      if (!this.running) {
        await this.exited
        throw this.failure(`${this.exitReason} before it listened on port ${port}`)
      }
      if (performance.now() > deadline) throw this.failure(`did not listen on port ${port} in time`)
      await Bun.sleep(lookInterval)
    }
  }

  /**
   * Resolves with the first line on stdout or stderr that matches, in what is still kept or from now on.
   * Throws {@link CommandError} when the program ends without it or takes too long.
   */
  async line(pattern: RegExp, options: WaitOptions = {}): Promise<string> {
    const outputs = [this.stdout, this.stderr]
    const earlier = outputs.flatMap((output) => output.lines).find((line) => pattern.test(line))
    if (earlier !== undefined) return earlier
    const found = Promise.withResolvers<string>()
    const undo = outputs.map((output) => output.onLine((line) => pattern.test(line) && found.resolve(line)))
    const timer = setTimeout(
      () => found.reject(this.failure(`did not write a line that matches ${pattern} in time`)),
      options.timeout ?? readyTimeout,
    )
    this.exited.then(() =>
      found.reject(this.failure(`${this.exitReason} before it wrote a line that matches ${pattern}`)),
    )
    try {
      return await found.promise
    } finally {
      clearTimeout(timer)
      for (const stop of undo) stop()
    }
  }

  /** An error about this program, with the end of what it wrote. */
  failure(reason: string): CommandError {
    return new CommandError(this.command, reason, (this.stderr.text || this.stdout.text).slice(-2_000))
  }

  /** Throws {@link CommandError} when the program has ended. */
  assertRunning(): void {
    if (!this.running) throw this.failure(this.exitReason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
