import { XoffloadError } from '@xoffload/core'

/** The testbed cannot do what was asked; the message says why and what to do. */
export class TestbedError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('TESTBED', message, options)
  }
}

/** A command in a testbed ended with a failure, was killed, or took too long. `stderr` is the end of what it said there. */
export class CommandError extends TestbedError {
  readonly command: readonly string[]
  readonly stderr: string

  constructor(command: readonly string[], reason: string, stderr: string) {
    const said = stderr.trim()
    super(`"${command.join(' ')}" ${reason}${said === '' ? '' : `: ${said}`}`)
    this.command = command
    this.stderr = stderr
  }
}
