import { XoffloadError } from '@xoffload/core'

/** One thing that is wrong in a configuration file. */
export interface ConfigProblem {
  /** The key as written in TOML, such as `servers[1].control`; empty for the whole file. */
  readonly key: string
  /** What was expected and what was found, in words. */
  readonly text: string
  /** The line in the file, from 1 on, where the parser gave up; absent for what was found after parsing. */
  readonly line?: number
}

/** More problems than this are not worth reading. */
export const maximumProblems = 100

/** A configuration file cannot be used. The message has one line per problem: file, key, what was expected, what was found. */
export class ConfigError extends XoffloadError {
  readonly file: string
  readonly problems: readonly ConfigProblem[]

  constructor(file: string, problems: readonly ConfigProblem[], options?: ErrorOptions) {
    super('CONFIG', problems.map((problem) => line(file, problem)).join('\n'), options)
    this.file = file
    this.problems = problems
  }
}

function line(file: string, problem: ConfigProblem): string {
  const place = problem.line === undefined ? file : `${file}:${problem.line}`
  return problem.key === '' ? `${place}: ${problem.text}` : `${place}: ${problem.key}: ${problem.text}`
}
