import { FlowKey, MacAddress, type Redirector, type Rule } from '@xoffload/core'

export const TARGET = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:01') } as const
export const SERVICE = { address: '198.51.100.1', port: 443 } as const
/** The client ports that are used of one address. */
const PORTS = 16_384

/** The client of rule `index` in a round (0 to 255). */
export function clientOf(index: number, round: number): { readonly address: string; readonly port: number } {
  return { address: `192.0.${round}.${Math.floor(index / PORTS) + 1}`, port: 1024 + (index % PORTS) }
}

/** Rules of flows that no other round has. */
export function roundRules(count: number, round: number): Rule[] {
  return Array.from({ length: count }, (_, index) => {
    return { action: 'steer', flow: FlowKey.of(clientOf(index, round), SERVICE), target: TARGET }
  })
}

/** How long it takes to put each rule and to remove it, one after the other: from the call until its promise is fulfilled. */
export async function timeRules(redirector: Redirector, rules: readonly Rule[]) {
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
