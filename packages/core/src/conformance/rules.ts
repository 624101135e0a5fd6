import { RedirectorError } from '../errors.ts'
import { FlowKey } from '../flow.ts'
import { MacAddress } from '../mac.ts'
import type { ListedRule, Redirector, Rule, SteerMode, SteerRule, SteerTarget } from '../redirector.ts'
import type { NetworkUnderTest } from './device.ts'
import { Absent, equal, sameMembers } from './failure.ts'

// RFC 5737 and RFC 3849: addresses for documentation, which nothing is routed to.
const CLIENTS = { 4: (host: number) => `192.0.2.${host}`, 6: (host: number) => `2001:db8::${host.toString(16)}` }
const SERVICES = { 4: '198.51.100.1', 6: '2001:db8:1::1' }
const TUNNEL_ENDS = { 4: '203.0.113.1', 6: '2001:db8:2::1' }
const TARGET = MacAddress.parse('02:00:00:00:00:22')

const FIRST_PORT = 1024
const PORTS = 60_000

/** The flow with this number, another one for every number up to 15 million. */
export function flowOf(family: 4 | 6, number: number): FlowKey {
  const client = { address: CLIENTS[family](1 + Math.floor(number / PORTS)), port: FIRST_PORT + (number % PORTS) }
  return FlowKey.of(client, { address: SERVICES[family], port: 80 })
}

/** A target of the mode, the one of the network if there is one. */
export function targetOf(mode: SteerMode, network?: NetworkUnderTest, family: 4 | 6 = 4): SteerTarget {
  const mac = network?.target ?? TARGET
  const remote = network?.tunnelAddresses?.[family] ?? TUNNEL_ENDS[family]
  if (mode === 'l2') return { mode, mac }
  if (mode === 'vxlan') return { mode, remote, identifier: 0x123456, port: 4789, mac }
  return { mode, remote }
}

/** Another MAC address than that of {@link targetOf}. */
export const OTHER_TARGET: SteerTarget = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:33') }

export function steer(flow: FlowKey, target: SteerTarget, more: Partial<SteerRule> = {}): SteerRule {
  return { ...more, action: 'steer', flow, target }
}

/** Everything that a rule says, as text: equal for rules that mean the same. */
export function ruleText(rule: Rule): string {
  const reference = rule.handoff === undefined ? '' : ` of handoff ${rule.handoff.handoff}/${rule.handoff.epoch}`
  if (rule.action === 'hold') return `hold ${rule.flow}${rule.silent === true ? ' silent' : ''}${reference}`
  const flags = `${rule.ended === true ? ' ended' : ''}${rule.returning === true ? ' returning' : ''}`
  return `steer ${rule.flow} to ${targetText(rule.target)}${flags}${reference}`
}

function targetText(target: SteerTarget): string {
  if (target.mode === 'l2') return `${target.mac}`
  if (target.mode === 'ipip') return `ipip ${target.remote}`
  return `vxlan ${target.remote}:${target.port} ${target.identifier} ${target.mac}`
}

export async function listed(redirector: Redirector): Promise<ListedRule[]> {
  const rules: ListedRule[] = []
  for await (const rule of redirector.list()) rules.push(rule)
  return rules
}

/** Checks that the redirector lists exactly these rules. */
export async function holdsExactly(redirector: Redirector, rules: Iterable<Rule>, when: string): Promise<void> {
  const found = (await listed(redirector)).map(({ rule }) => ruleText(rule))
  sameMembers(found, [...rules].map(ruleText), `rules ${when}`)
}

/**
 * Puts a rule that a redirector may refuse as `unsupported`: throws {@link Absent} with its words then, after checking that the
 * flow's rule is what it was before.
 */
export async function putOptional(redirector: Redirector, rule: Rule): Promise<void> {
  const before = await textFor(redirector, rule.flow)
  try {
    await redirector.put(rule)
  } catch (error) {
    if (!(error instanceof RedirectorError) || error.reason !== 'unsupported') throw error
    equal(await textFor(redirector, rule.flow), before, `the rule of a flow after the refusal of ${ruleText(rule)}`)
    throw new Absent(error.message)
  }
}

/** What the redirector lists for the flow, undefined for nothing. */
export async function textFor(redirector: Redirector, flow: FlowKey): Promise<string | undefined> {
  const found = (await listed(redirector)).find(({ rule }) => rule.flow.equals(flow))
  return found && ruleText(found.rule)
}
