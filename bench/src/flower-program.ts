/**
 * `bun flower-program.ts`, inside the guest: measures the redirectors that use flower, and `tc -batch` in turn with them. Prints a
 * {@link FlowerResult} a line.
 */
import type { Redirector, Rule } from '@xoffload/core'
import { AgilioRedirector } from '@xoffload/redirect-agilio'
import { type FlowerRedirectorOptions, SoftwareFlowerRedirector } from '@xoffload/redirect-flower'
import { CxFlowerRedirector } from '@xoffload/redirect-flower-cx'
import { cardKnobs, type NicKnobs, VirtualNic } from '@xoffload/testbed'
import type { REFERENCE, RuleMetric } from './rule-figures.ts'
import { roundRules, timeRules } from './rule-times.ts'
import { TcBatch } from './tc-batch.ts'

const ROUNDS = 5
/** A rate is measured with so many rules, and the times of single rules with fewer. */
const FLOWS = { software: 1000, card: 100 } as const
const TIMED = { software: 250, card: 50 } as const
/** How many commands are under way when a rate is measured. */
const CONCURRENCY = 256
/** Until the compilers have done their work on an emulated processor, milliseconds: a gateway runs for much longer. */
const WARM_UP = 15_000
const WARM_UP_FLOWS = 500

interface Kind {
  readonly name: string
  /** The card that the virtual NIC plays. */
  readonly reference?: keyof typeof REFERENCE
  readonly knobs: NicKnobs
  readonly create: (options: FlowerRedirectorOptions) => Redirector
}

type Rate = Readonly<Record<RuleMetric, number>>

/** What was measured of one kind of redirector. */
export interface FlowerResult extends Pick<Kind, 'name' | 'reference'> {
  /** How many rules a rate was measured with. */
  readonly flows: number
  readonly rounds: readonly {
    /** Of single rules, microseconds. */
    readonly times: Readonly<Record<RuleMetric, readonly number[]>>
    /** Rules a second, with many under way. */
    readonly rate: Rate
    /** The same of `tc -batch`. */
    readonly tcRate: Rate
  }[]
}

const KINDS: readonly Kind[] = [
  { name: 'flower', knobs: {}, create: (options) => new SoftwareFlowerRedirector(options) },
  {
    name: 'cx-flower',
    reference: 'cx5',
    knobs: { ...cardKnobs.connectX5, firmware: '16.35.4030 (MT_0000000012)' },
    create: (options) => new CxFlowerRedirector(options),
  },
  {
    name: 'cx-flower',
    reference: 'cx7',
    knobs: { ...cardKnobs.connectX7, firmware: '28.39.1002 (MT_0000000838)' },
    create: (options) => new CxFlowerRedirector(options),
  },
  {
    name: 'agilio',
    reference: 'agilio',
    knobs: { ...cardKnobs.agilio, firmware: '0.0.5.5 0.31 flo-2.0 flower' },
    create: (options) => new AgilioRedirector(options),
  },
]

async function measure({ name, reference, create }: Kind, device: string): Promise<FlowerResult> {
  const redirector = create({ device })
  await redirector.open()
  const where = reference === undefined ? 'software' : 'card'
  const flows = FLOWS[where]
  if (where === 'software') await warmUp(redirector)
  const batch = await TcBatch.create(device, where === 'software' ? 'skip_hw' : 'skip_sw')
  const rounds: FlowerResult['rounds'][number][] = []
  // The first round warms up and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    const rules = roundRules(flows, round)
    const { insert, remove } = await timeRules(redirector, rules.slice(0, TIMED[where]))
    const rate = await measureRate(redirector, rules)
    const tcRate = await batch.measureRate(flows, round)
    if (round > 0) rounds.push({ times: { insert: [...insert], remove: [...remove] }, rate, tcRate })
    const [ours, others] = [rate, tcRate].map(({ insert, remove }) => `${insert.toFixed(0)} and ${remove.toFixed(0)}/s`)
    console.error(`rules: ${name} in the guest, round ${round} of ${ROUNDS}: ${ours}, tc -batch ${others}`)
  }
  await redirector.close()
  return { name, ...(reference && { reference }), flows, rounds }
}

async function warmUp(redirector: Redirector): Promise<void> {
  const end = performance.now() + WARM_UP
  while (performance.now() < end) await measureRate(redirector, roundRules(WARM_UP_FLOWS, 0))
}

async function measureRate(redirector: Redirector, rules: readonly Rule[]): Promise<Rate> {
  const insert = await rateOf(rules, (rule) => redirector.put(rule))
  const remove = await rateOf(rules, (rule) => redirector.remove(rule.flow))
  return { insert, remove }
}

async function rateOf(rules: readonly Rule[], command: (rule: Rule) => Promise<unknown>): Promise<number> {
  const waiting = rules.values()
  const work = async () => {
    for (const rule of waiting) await command(rule)
  }
  const start = Bun.nanoseconds()
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return (rules.length * 1e9) / (Bun.nanoseconds() - start)
}

if (import.meta.main) {
  await using nic = await VirtualNic.load({ nics: 1, ports: 1 })
  const { host, wire } = nic.port(0)
  for (const device of [host, wire]) {
    const { exitCode, stderr } = Bun.spawnSync(['ip', 'link', 'set', device, 'up'])
    if (exitCode !== 0) throw new Error(`${device} does not come up: ${stderr}`)
  }
  for (const kind of KINDS) {
    nic.set(kind.knobs)
    process.stdout.write(`${JSON.stringify(await measure(kind, host))}\n`)
  }
}
