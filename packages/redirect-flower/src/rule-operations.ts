import { type FlowCounters, type FlowKey, type ListedRule, RedirectorError, type Rule } from '@xoffload/core'
import {
  addFlower,
  decodeFlower,
  deleteFlower,
  type FlowerMatch,
  type FlowerPlace,
  getFlower,
  type ListedFlower,
  replaceFlower,
  type TcAction,
} from '@xoffload/linux'
import { decodeCookie, encodeCookie } from './cookie.ts'
import { countersOf } from './counters.ts'
import { tableFor } from './layout.ts'
import type { OpenDevice } from './open-device.ts'
import { actionsOf, matchOf, ruleOf } from './rule-filter.ts'
import type { RuleEntry } from './rule-table.ts'

/** A rule as a filter: independent of the rule's object, which its owner may change. */
export interface PreparedRule {
  readonly flow: FlowKey
  readonly match: FlowerMatch
  readonly actions: readonly TcAction[]
  readonly handoff: Rule['handoff']
}

/** Throws {@link RedirectorError} for a rule that this device cannot carry out. */
export function prepareRule({ shape }: OpenDevice, rule: Rule): PreparedRule {
  const { flow, handoff } = rule
  const actions = actionsOf(rule, shape)
  return { flow, match: matchOf(flow, shape), actions, handoff: handoff && { ...handoff } }
}

/**
 * Adds the filter of a flow, or replaces it in one step. Operations on one flow must take turns. Rejects with {@link
 * RedirectorError}.
 */
export async function putRule(device: OpenDevice, rule: PreparedRule, signal?: AbortSignal): Promise<void> {
  const { rules, filters, shape } = device
  const { flow, match, actions, handoff } = rule
  const known = rules.get(flow)
  const { capacity } = shape.profile
  if (known === undefined && rules.size >= capacity) {
    throw new RedirectorError('full', `there is room for ${capacity} flows: remove rules of flows that are idle`)
  }
  const entry = known ?? rules.add(flow)
  const generation = (entry.generation + 1) % GENERATIONS
  const cookie = encodeCookie({ kind: 'rule', generation, ...(handoff === undefined ? {} : { handoff }) })
  const filter = { match, actions, offload: shape.profile.execution, cookie }
  const place = placeOf(device, entry, match)
  const request = known === undefined ? addFlower(place, filter) : replaceFlower(place, filter)
  try {
    await filters.request(`putting a rule for ${flow}`, request, { signal })
    entry.generation = generation
  } catch (error) {
    if (known === undefined) rules.delete(entry)
    throw error
  }
}

/** False when there was none. Operations on one flow must take turns. Rejects with {@link RedirectorError}. */
export async function removeRule(device: OpenDevice, flow: FlowKey, signal?: AbortSignal): Promise<boolean> {
  const { rules, filters, shape } = device
  const entry = rules.get(flow)
  if (entry === undefined) return false
  const match = matchOf(flow, shape)
  const request = deleteFlower(placeOf(device, entry, match), match)
  const { errno } = await filters.request(`removing the rule of ${flow}`, request, { allowed: ['ENOENT'], signal })
  rules.delete(entry)
  return errno === undefined
}

/** Undefined when there is no rule. Rejects with {@link RedirectorError}. */
export async function readCounters(
  device: OpenDevice,
  flow: FlowKey,
  now: () => bigint,
  signal?: AbortSignal,
): Promise<FlowCounters | undefined> {
  const { rules, filters, shape } = device
  const entry = rules.get(flow)
  if (entry === undefined) return undefined
  const match = matchOf(flow, shape)
  const request = getFlower(placeOf(device, entry, match), match)
  const answer = await filters.request(`reading the rule of ${flow}`, request, { allowed: ['ENOENT'], signal })
  const [body] = answer.replies
  return body === undefined ? undefined : countersOf(decodeFlower(body), shape.profile, now())
}

/** The rule and the counters of a filter, undefined for one that is no rule of ours. */
export function listedRule({ shape }: OpenDevice, filter: ListedFlower, now: () => bigint): ListedRule | undefined {
  const cookie = decodeCookie(filter.actions[0]?.cookie)
  if (cookie?.kind !== 'rule') return undefined
  const rule = ruleOf(filter, cookie.handoff)
  return rule && { rule, counters: countersOf(filter, shape.profile, now()) }
}

const GENERATIONS = 256

function placeOf({ tables }: OpenDevice, { handle }: RuleEntry, match: FlowerMatch): FlowerPlace {
  return { ...tableFor(tables, match), handle }
}
