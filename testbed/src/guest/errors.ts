import { TestbedError } from '../errors.ts'

/** The guest cannot be used, or no longer: it did not start, panicked, hangs, or was closed. */
export class GuestError extends TestbedError {
  /** The end of what the guest's kernel wrote to its console. */
  readonly console: string

  constructor(message: string, console = '', options?: ErrorOptions) {
    const lines = console.trim()
    super(lines === '' ? message : `${message}. The end of its console:\n${lines}`, options)
    this.console = lines
  }
}

/** The guest's kernel gave a warning or worse: `problems` are its messages. What ran until then cannot be trusted. */
export class GuestKernelError extends TestbedError {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`The guest's kernel complains:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.problems = problems
  }
}
