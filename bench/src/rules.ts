import { FlowKey, type Redirector } from '@xoffload/core'
import { NIC_PROFILES, NicModel, type NicProfile } from '@xoffload/core/simulation'
import { inNetworkNamespace } from '@xoffload/linux'
import { TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import { type Figure, type Host, printFigure, Testbed } from '@xoffload/testbed'
import { measureFlower } from './flower-rules.ts'
import type { BenchOptions } from './main.ts'
import { PreciseClock } from './precise-clock.ts'
import { type REFERENCE, ruleFigures } from './rule-figures.ts'
import { roundRules, TARGET, timeRules } from './rule-times.ts'

const ROUNDS = 5
const FLOWS = 20_000
const WARM_UP_FLOWS = 20_000
const CAPACITY = 1 << 20
/** Other rules in the second half: as full as the table gets with a round on top. */
const INSTALLED = 1_000_000
/** For the models of NICs, which take their time. */
const MODEL_FLOWS = 200

/**
 * How long it takes to insert and to remove one rule, through the public interface of the redirectors, beside the table of XO: those of eBPF on
 * the device of a testbed's gateway; models of the NICs in that table, which say what is added to the NIC's own time; and flower on the
 * kernel of the guest, where `tc -batch` puts the same filters. The guest is emulated: there, compare rates only. Needs root.
 */
export async function run({ json }: BenchOptions): Promise<void> {
  const figures: Figure[] = []
  const print = (figure: Figure) => {
    figures.push(figure)
    printFigure(figure, json)
  }
  {
    await using testbed = await Testbed.create({ hosts: ['gateway'] })
    const gateway = testbed.host('gateway')
    for (const name of ['tc', 'xdp'] as const) for await (const figure of measureProgram(gateway, name)) print(figure)
    using clock = await PreciseClock.start()
    for (const profile of Object.values(NIC_PROFILES)) {
      for (const figure of await measureModel(gateway, profile, clock)) print(figure)
    }
  }
  for (const figure of await measureFlower()) print(figure)
  console.error(table(figures))
}

async function* measureProgram({ device, namespacePath }: Host, name: 'tc' | 'xdp'): AsyncGenerator<Figure> {
  const options = { device, capacity: CAPACITY }
  const redirector = name === 'tc' ? new TcRedirector(options) : new XdpRedirector(options)
  await inNetworkNamespace(namespacePath, () => redirector.open())
  try {
    await timeRules(redirector, roundRules(WARM_UP_FLOWS, 0))
    // How many other rules are in the table all the time.
    for (const installed of [0, INSTALLED]) {
      if (installed > 0) await fill(redirector, installed)
      const rounds = await measureRounds(redirector, FLOWS, `${name}, ${installed} installed`)
      const parameters = { capacity: CAPACITY, installed }
      for (const figure of ruleFigures(rounds, name)) yield { bench: 'rules', case: name, ...parameters, ...figure }
    }
  } finally {
    await inNetworkNamespace(namespacePath, () => redirector.close())
  }
}

/** A NIC that takes as long as XO has measured, in front of a table of tc's. */
async function measureModel({ device, namespacePath }: Host, profile: NicProfile, clock: PreciseClock) {
  const redirector = new NicModel({ clock, profile, table: new TcRedirector({ device }) })
  await inNetworkNamespace(namespacePath, () => redirector.open())
  try {
    await timeRules(redirector, roundRules(MODEL_FLOWS, 0))
    const { name } = redirector.manifest
    const rounds = await measureRounds(redirector, MODEL_FLOWS, name)
    const reference = profile.name as keyof typeof REFERENCE
    return ruleFigures(rounds, reference).map((figure) => ({ bench: 'rules', case: name, ...figure }))
  } finally {
    await inNetworkNamespace(namespacePath, () => redirector.close())
  }
}

async function measureRounds(redirector: Redirector, flows: number, what: string) {
  const rounds: Awaited<ReturnType<typeof timeRules>>[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    rounds.push(await timeRules(redirector, roundRules(flows, round)))
    console.error(`rules: ${what}, round ${round} of ${ROUNDS}`)
  }
  return rounds
}

/** Puts rules of IPv6 flows, so that they are none of those that are measured. */
async function fill(redirector: Redirector, count: number): Promise<void> {
  console.error(`rules: filling the table with ${count} rules`)
  const client = { address: '2001:db8::1', port: 1024 }
  const bytes = FlowKey.of(client, { address: '2001:db8::2', port: 443 }).bytes.slice()
  const view = new DataView(bytes.buffer)
  for (let index = 0; index < count; index++) {
    view.setUint32(8, index)
    await redirector.put({ action: 'steer', flow: FlowKey.from(bytes), target: TARGET })
  }
}

const WIDTHS = [16, 11, 6, 8, 8, 8, 8]

/** The table for people. */
function table(figures: readonly Figure[]): string {
  const row = (...cells: readonly string[]) => cells.map((cell, index) => cell.padStart(WIDTHS[index] ?? 0)).join(' ')
  const text = (value: number | undefined) => (value === undefined ? '' : `${Number(value.toPrecision(3))}`)
  const lines = figures.map((figure) => {
    const { installed, unit, value, p50, p99, ratio, reference } = figure
    const detail = figure.nic === figure.case ? undefined : (figure.nic ?? (installed || undefined))
    const name = `${figure.case}${detail === undefined ? '' : ` (${detail})`}`
    const measured = p50 === undefined ? [text(value), ''] : [text(p50), text(p99)]
    return row(name, figure.metric, unit, ...measured, text(reference), text(ratio))
  })
  return [row('', '', '', 'p50', 'p99', 'XO', 'x tc'), ...lines].join('\n')
}
