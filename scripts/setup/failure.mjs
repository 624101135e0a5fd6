/** A reason to stop that its message states in full: it is printed as one sentence, without a stack. */
export class SetupFailure extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message)
    this.name = 'SetupFailure'
  }
}

/**
 * Says on stderr what set-up is doing. Stdout belongs to the command.
 *
 * @param {string} text
 */
export const say = (text) => {
  process.stderr.write(`xoffload: ${text}\n`)
}
