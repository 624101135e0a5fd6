import { parseArgs } from 'node:util'
import { SABOTAGES, type Sabotage } from '@xoffload/core/simulation'
import { TestbedError } from '../errors.ts'

export interface SimulateOptions {
  /** The first seed, and how many. */
  readonly seed: number
  readonly seeds: number
  /** Stop after this time, in minutes, also when seeds are left. */
  readonly minutes: number
  /** One seed only, with every step on standard output. */
  readonly replay: boolean
  readonly sabotage: Sabotage | undefined
}

const DEFAULT_SEEDS = 10_000
const MAXIMUM_SEED = Number.MAX_SAFE_INTEGER

export const usage = `npm run simulate -- [OPTIONS]

Gateways, servers, clients, the network between them, and crashes, all of it simulated and chosen by a seed, with the real state
machines and drivers of the handoff. Checks the invariants with every step, on all processors.

  --seeds N     how many seeds (default ${DEFAULT_SEEDS.toLocaleString('en')})
  --minutes M   stop after M minutes; without --seeds there is no other end
  --seed S      the first seed (default 1); without --seeds and --minutes: this seed alone, step by step
  --break WHAT  break the code that keeps an invariant, and say which seed finds it. WHAT is one of
                ${list(SABOTAGES)}
  --help        this text`

/** Reads the command line; undefined when only help is wanted. Throws {@link TestbedError} for what it does not know. */
export function parseOptions(args: readonly string[]): SimulateOptions | undefined {
  const { values } = parse(args)
  if (values.help === true) return undefined
  const { seed, seeds, minutes } = values
  const replay = seed !== undefined && seeds === undefined && minutes === undefined
  return {
    seed: whole('seed', seed ?? '1', 0, MAXIMUM_SEED),
    seeds: whole('seeds', seeds ?? (minutes === undefined ? String(DEFAULT_SEEDS) : `${2 ** 40}`), 1, MAXIMUM_SEED),
    minutes: whole('minutes', minutes ?? '1440', 1, 1440),
    replay,
    sabotage: sabotageOf(values.break),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        seeds: { type: 'string' },
        minutes: { type: 'string' },
        break: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (cause) {
    throw new TestbedError(`${cause instanceof Error ? cause.message : String(cause)}. See --help`, { cause })
  }
}

function whole(name: string, text: string, minimum: number, maximum: number): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < minimum || number > maximum) {
    throw new TestbedError(`--${name} takes a whole number from ${minimum} to ${maximum}, found "${text}"`)
  }
  return number
}

function sabotageOf(text: string | undefined): Sabotage | undefined {
  if (text === undefined) return undefined
  const sabotage = SABOTAGES.find((one) => one === text)
  if (sabotage === undefined) throw new TestbedError(`--break takes one of ${SABOTAGES.join(', ')}, found "${text}"`)
  return sabotage
}

function list(names: readonly string[]): string {
  const lines: string[] = []
  for (let start = 0; start < names.length; start += 4) lines.push(names.slice(start, start + 4).join(', '))
  return lines.join(',\n                ')
}
