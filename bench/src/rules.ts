import { FlowKey, MacAddress, type Redirector, type Rule } from '@xoffload/core'
import { inNetworkNamespace } from '@xoffload/linux'
import { TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import { type Host, median, percentile, printFigure, Testbed } from '@xoffload/testbed'
import type { BenchOptions } from './main.ts'

const ROUNDS = 5
const FLOWS = 20_000
const WARM_UP_FLOWS = 20_000
const CAPACITY = 1 << 20
/** Other rules in the second half: as full as the table gets with a round on top. */
const INSTALLED = 1_000_000
const TARGET = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:01') } as const
/** eBPF (tc) in the table of XO (NSDI'26), in microseconds. */
const REFERENCE = { insert: 4.01, remove: 3.77 } as const

type Case = 'tc' | 'xdp'

interface Samples {
  readonly insert: Float64Array
  readonly remove: Float64Array
}

/**
 * How long it takes to insert and to remove one rule, through the public interface of the eBPF redirectors: from the call to the
 * moment that its promise is fulfilled. Runs on the device of a testbed's gateway. Needs root.
 */
export async function run({ json }: BenchOptions): Promise<void> {
  await using testbed = await Testbed.create({ hosts: ['gateway'] })
  for (const name of ['tc', 'xdp'] as const) await measure(testbed.host('gateway'), name, json)
}

async function measure({ device, namespacePath }: Host, name: Case, json: boolean): Promise<void> {
  const options = { device, capacity: CAPACITY }
  const redirector = name === 'tc' ? new TcRedirector(options) : new XdpRedirector(options)
  await inNetworkNamespace(namespacePath, () => redirector.open())
  try {
    await round(redirector, rules(WARM_UP_FLOWS, 0))
    await measureWith(redirector, name, 0, json)
    await fill(redirector, INSTALLED)
    await measureWith(redirector, name, INSTALLED, json)
  } finally {
    await inNetworkNamespace(namespacePath, () => redirector.close())
  }
}

/** `installed`: how many other rules are in the table all the time. */
async function measureWith(redirector: Redirector, name: Case, installed: number, json: boolean): Promise<void> {
  const rounds: Samples[] = []
  for (let index = 1; index <= ROUNDS; index++) {
    rounds.push(await round(redirector, rules(FLOWS, index)))
    process.stderr.write(`rules: ${name}, ${installed} installed, round ${index} of ${ROUNDS}\n`)
  }
  for (const metric of ['insert', 'remove'] as const) {
    const all = Float64Array.from(rounds.flatMap((samples) => Array.from(samples[metric]))).sort()
    const value = median(rounds.map((samples) => percentile(samples[metric].slice().sort(), 0.5)))
    const spread = { p50: percentile(all, 0.5), p99: percentile(all, 0.99), max: percentile(all, 1), n: all.length }
    const parameters = { capacity: CAPACITY, installed }
    const reference = { reference: REFERENCE[metric], source: "XO, NSDI'26" }
    printFigure({ bench: 'rules', case: name, ...parameters, metric, unit: 'us', value, ...spread, ...reference }, json)
  }
}

/** Puts rules of IPv6 flows, so that they are none of those that are measured. */
async function fill(redirector: Redirector, count: number): Promise<void> {
  process.stderr.write(`rules: filling the table with ${count} rules\n`)
  const client = { address: '2001:db8::1', port: 1024 }
  const bytes = FlowKey.of(client, { address: '2001:db8::2', port: 443 }).bytes.slice()
  const view = new DataView(bytes.buffer)
  for (let index = 0; index < count; index++) {
    view.setUint32(8, index)
    await redirector.put({ action: 'steer', flow: FlowKey.from(bytes), target: TARGET })
  }
}

async function round(redirector: Redirector, rules: Rule[]): Promise<Samples> {
  const insert = new Float64Array(rules.length)
  const remove = new Float64Array(rules.length)
  for (const [index, rule] of rules.entries()) {
    const start = Bun.nanoseconds()
    await redirector.put(rule)
    insert[index] = (Bun.nanoseconds() - start) / 1000
  }
  for (const [index, rule] of rules.entries()) {
    const start = Bun.nanoseconds()
    await redirector.remove(rule.flow)
    remove[index] = (Bun.nanoseconds() - start) / 1000
  }
  return { insert, remove }
}

function rules(count: number, round: number): Rule[] {
  const service = { address: '198.51.100.1', port: 443 }
  return Array.from({ length: count }, (_, index) => {
    const client = { address: `192.0.${round}.${(index >> 14) + 1}`, port: 1024 + (index & 0x3fff) }
    return { action: 'steer', flow: FlowKey.of(client, service), target: TARGET }
  })
}
