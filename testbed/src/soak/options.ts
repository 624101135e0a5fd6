import { parseArgs } from 'node:util'
import type { Adapter } from '../deployment/adopting-nginx.ts'
import { TestbedError } from '../errors.ts'

/** What is asked for on the command line: handoffs under load, adoptions by nginx, or inputs for the decoders. */
export type SoakCommand =
  | {
      readonly kind: 'handoffs'
      readonly handoffs: number
      readonly seed: number
      readonly connections: number
      readonly seconds: number
      readonly json: boolean
    }
  | {
      readonly kind: 'adoptions'
      readonly adoptions: number
      /** One after the other. */
      readonly adapters: readonly Adapter[]
      readonly seed: number
      readonly connections: number
      /** For each adapter. */
      readonly seconds: number
      readonly json: boolean
    }
  | { readonly kind: 'fuzz'; readonly inputs: number; readonly seed: number; readonly json: boolean }

export const usage = `npm run soak -- [OPTIONS]

Moves live connections between a gateway and three servers, in all directions and under load, over links that lose, duplicate,
reorder and delay. Clients and servers check every byte of every request and response. Afterwards no rule and no file may be left.

  --handoffs N     how many handoffs are to succeed (default 10000)
  --seed S         what clients, operator and links do follows from it (default: another one each time)
  --connections N  client connections at once, 1 to 2000 (default 64)
  --seconds N      the longest that it may take (default: one for each 50 handoffs or adoptions, at least 60)
  --adoptions N    instead: each of two servers with stock nginx adopts N connections, and memory and descriptors of nginx, its agent
                   and the gateway must stay as they are
  --adapter NAME   how nginx takes them: "preload" (a library that is loaded before it) or "module" (default: first one, then the other)
  --fuzz N         instead: N inputs for every decoder of what comes from outside
  --json           figures as lines of JSON on standard output
  --help           this text`

const ADAPTERS: readonly Adapter[] = ['preload', 'module']
const HANDOFFS_PER_SECOND = 50
const MINIMUM_SECONDS = 60

/** Reads the command line; undefined when only help is wanted. Throws {@link TestbedError} for what it does not know. */
export function parseOptions(args: readonly string[]): SoakCommand | undefined {
  const values = parse(args)
  if (values.help === true) return undefined
  const json = values.json ?? false
  const seed =
    values.seed === undefined
      ? Math.floor(Math.random() * 1_000_000)
      : wholeNumber('seed', values.seed, 0, 1_000_000_000)
  if (values.fuzz !== undefined) {
    refuseOthers(values, ['handoffs', 'adoptions', 'adapter', 'connections', 'seconds'], 'fuzz')
    return { kind: 'fuzz', inputs: wholeNumber('fuzz', values.fuzz, 1, 1_000_000_000), seed, json }
  }
  const connections = wholeNumber('connections', values.connections ?? '64', 1, 2000)
  const name = values.adoptions === undefined ? 'handoffs' : 'adoptions'
  const count = wholeNumber(name, values[name] ?? '10000', 1, 100_000_000)
  const standard = Math.max(MINIMUM_SECONDS, Math.ceil(count / HANDOFFS_PER_SECOND))
  const seconds = wholeNumber('seconds', values.seconds ?? `${standard}`, 1, 10_000_000)
  if (name === 'adoptions') {
    refuseOthers(values, ['handoffs'], 'adoptions')
    return {
      kind: 'adoptions',
      adoptions: count,
      adapters: adaptersOf(values.adapter),
      seed,
      connections,
      seconds,
      json,
    }
  }
  if (values.adapter !== undefined) throw new TestbedError('--adapter has a meaning only together with --adoptions')
  return { kind: 'handoffs', handoffs: count, seed, connections, seconds, json }
}

function refuseOthers(values: ReturnType<typeof parse>, names: readonly (keyof typeof values)[], what: string): void {
  const other = names.find((name) => values[name] !== undefined)
  if (other !== undefined) throw new TestbedError(`--${other} has no meaning together with --${what}`)
}

function adaptersOf(name: string | undefined): readonly Adapter[] {
  const adapters = ADAPTERS.filter((adapter) => name === undefined || adapter === name)
  if (adapters.length === 0) throw new TestbedError(`--adapter takes "preload" or "module", found "${name}"`)
  return adapters
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        handoffs: { type: 'string' },
        seed: { type: 'string' },
        connections: { type: 'string' },
        seconds: { type: 'string' },
        adoptions: { type: 'string' },
        adapter: { type: 'string' },
        fuzz: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (cause) {
    throw new TestbedError(`${cause instanceof Error ? cause.message : String(cause)}. See --help`, { cause })
  }
}

function wholeNumber(name: string, text: string, minimum: number, maximum: number): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < minimum || number > maximum) {
    throw new TestbedError(`--${name} takes a whole number from ${minimum} to ${maximum}, found "${text}"`)
  }
  return number
}
