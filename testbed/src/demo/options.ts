import { parseArgs } from 'node:util'
import { TestbedError } from '../errors.ts'

export interface DemoOptions {
  /** Figures as lines of JSON on stdout, and nothing else there. */
  readonly json: boolean
  /** The length of each run of wrk, whole seconds. */
  readonly seconds: number
  /** How many connections wrk keeps open. */
  readonly connections: number
}

export const usage = `npm run demo -- [OPTIONS]

A client host, a gateway and four servers, each a network namespace of this machine: shows a response that came through a
handoff, and then compares xoffload with nginx as a proxy in front of the same servers, and with one server directly.

  --seconds N      length of each run of wrk, 1 to 60 (default 5; there are 27 runs)
  --connections N  connections that wrk keeps open, 1 to 5000 (default 32)
  --json           figures as lines of JSON on standard output
  --help           this text`

/** Reads the command line; undefined when only help is wanted. Throws {@link TestbedError} for what it does not know. */
export function parseOptions(args: readonly string[]): DemoOptions | undefined {
  const { values } = parse(args)
  if (values.help === true) return undefined
  return {
    json: values.json ?? false,
    seconds: wholeNumber('seconds', values.seconds ?? '5', 60),
    connections: wholeNumber('connections', values.connections ?? '32', 5000),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        json: { type: 'boolean' },
        seconds: { type: 'string' },
        connections: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (cause) {
    throw new TestbedError(`${cause instanceof Error ? cause.message : String(cause)}. See --help`, { cause })
  }
}

function wholeNumber(name: string, text: string, maximum: number): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > maximum) {
    throw new TestbedError(`--${name} takes a whole number from 1 to ${maximum}, found "${text}"`)
  }
  return number
}
