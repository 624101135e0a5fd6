import { join } from 'node:path'
import { CommandError, type TestbedError } from '../errors.ts'
import { type BridgePort, insideNamespace } from '../network.ts'
import { Output } from '../output.ts'
import { tool } from '../tools.ts'

/** How long the process may take to start and to end, in milliseconds. */
const TIME_LIMIT = 10_000

const program = join(import.meta.dir, 'delay-line-program.ts')

/** The process that holds delayed frames of one link. It dies with this process, and its TAPs with it. */
export class DelayLineProcess {
  readonly #child: ReturnType<typeof start>
  readonly #stdout: Output
  readonly #stderr: Output
  readonly #command: readonly string[]

  constructor(port: BridgePort) {
    const names = [`${port.device}from`, `${port.device}to`]
    this.#command = [tool('setpriv'), '--pdeathsig', 'KILL', '--', process.execPath, program, ...names]
    this.#child = start(insideNamespace(port.namespace, this.#command))
    this.#stdout = new Output(this.#child.stdout)
    this.#stderr = new Output(this.#child.stderr)
  }

  /** The indexes of its TAPs: of what the host sends, and of what it gets. Throws {@link CommandError} when it does not start. */
  async taps(): Promise<readonly [fromHost: number, toHost: number]> {
    const first = Promise.withResolvers<string>()
    this.#stdout.onLine(first.resolve)
    const timer = setTimeout(() => first.reject(this.#failure('did not start in time')), TIME_LIMIT)
    this.#ended().then(() => first.reject(this.#failure('ended before it was ready')))
    try {
      return JSON.parse(await first.promise)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Throws {@link CommandError} when it has ended, and every frame that was to wait is lost. */
  assertRunning(): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw this.#failure('has ended')
  }

  /** Lets go of what waits, and ends it. Throws {@link TestbedError} when it had to be killed or failed. */
  async stop(): Promise<void> {
    await this.#child.stdin.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), TIME_LIMIT)
    await this.#ended()
    clearTimeout(timer)
    if (this.#child.exitCode !== 0) throw this.#failure(`ended with ${this.#child.signalCode ?? this.#child.exitCode}`)
  }

  async #ended(): Promise<void> {
    await Promise.all([this.#child.exited, this.#stdout.ended, this.#stderr.ended])
  }

  #failure(reason: string): TestbedError {
    return new CommandError(this.#command, reason, this.#stderr.text)
  }
}

function start(command: string[]) {
  return Bun.spawn(command, { detached: true, stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' })
}
