import type { FlowCounters, HandoffOutcome, ListedRule, SteerTarget } from '@xoffload/core'
import type { FlowView, GatewayEvent, HandoffView, ServerView } from '../gateway/operations.ts'
import { flowId } from './flow-id.ts'
import type { EventJson, FlowJson, HandoffJson, OutcomeJson, RuleJson, ServerJson } from './schemas.ts'

const NANOSECONDS_PER_MILLISECOND = 1e6

export function serverJson({ name, up, draining, connections }: ServerView): ServerJson {
  return { name, up, draining, connections }
}

export function flowJson({ flow, server, state, age, moves }: FlowView): FlowJson {
  return { flow: flowId(flow), server, state, age, moves }
}

/** Counts are exact up to 2^53: some years at the line rate of any NIC. */
export function countersJson({ packets, bytes, egressPackets, lastSeen }: FlowCounters): RuleJson['counters'] {
  return {
    packets: Number(packets),
    bytes: Number(bytes),
    egressPackets: Number(egressPackets),
    lastSeen: lastSeen === 0n ? null : Number(lastSeen) / NANOSECONDS_PER_MILLISECOND,
  }
}

export function ruleJson({ rule, counters }: ListedRule): RuleJson {
  const shown = { flow: flowId(rule.flow), action: rule.action, counters: countersJson(counters) }
  if (rule.action === 'hold') return { ...shown, silent: rule.silent ?? false }
  return { ...shown, target: targetJson(rule.target), ended: rule.ended ?? false }
}

function targetJson(target: SteerTarget): NonNullable<RuleJson['target']> {
  return target.mode === 'ipip' ? target : { ...target, mac: target.mac.toString() }
}

export function outcomeJson({ result, handoff, failure, times }: HandoffOutcome): OutcomeJson {
  const whole = Object.fromEntries(Object.entries(times).map(([step, time]) => [step, Math.round(time)]))
  return { result, handoff, ...(failure !== undefined && { failure }), times: whole }
}

export function handoffJson({ at, flow, direction, from, to, outcome }: HandoffView): HandoffJson {
  return { at: new Date(at).toISOString(), flow: flowId(flow), direction, from, to, outcome: outcomeJson(outcome) }
}

export function eventJson(event: GatewayEvent): EventJson {
  if (event.type === 'handoff') return { type: event.type, handoff: handoffJson(event.handoff) }
  if (event.type === 'ended') return { type: event.type, flow: flowId(event.flow), server: event.server }
  return event
}
