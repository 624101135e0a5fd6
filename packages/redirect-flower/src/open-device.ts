import { RedirectorError } from '@xoffload/core'
import {
  addClsact,
  deleteClsact,
  deleteFlower,
  dumpHook,
  type FlowerTable,
  type ListedFlower,
  replaceFlower,
} from '@xoffload/linux'
import { decodeCookie, encodeCookie } from './cookie.ts'
import type { DeviceFilters } from './device-filters.ts'
import { type FilterTables, tableFor } from './layout.ts'
import type { ListedBody } from './reconcile.ts'
import { type FilterShape, pinActions, pinMatch, ruleOf } from './rule-filter.ts'
import { removeRule } from './rule-operations.ts'
import { RuleTable } from './rule-table.ts'

const PIN_HANDLE = 1
const REMOVALS_AT_ONCE = 1024

/** What a redirector has on its device. */
export interface OpenDevice {
  readonly filters: DeviceFilters
  readonly tables: FilterTables
  readonly shape: FilterShape
  readonly rules: RuleTable
  /** The clsact qdisc is ours to remove when it is empty. */
  readonly madeClsact: boolean
}

/** Filters of one table that an earlier process has left. */
interface Leftovers {
  readonly pin: { readonly madeClsact: boolean } | undefined
  readonly rules: readonly ListedBody[]
}

/**
 * Makes sure of the clsact qdisc, adopts the rules that are there, and puts the pin: a filter that no packet matches. The NIC
 * proves with it that it executes rules of this kind, and what it has set up for it (a hairpin pair of mlx5: 50 ms) stays as long
 * as the pin does. When it fails, what it made is removed again. Rejects with {@link RedirectorError}.
 */
export async function openDevice(
  filters: DeviceFilters,
  tables: FilterTables,
  shape: FilterShape,
): Promise<OpenDevice> {
  const { ifindex } = tables.ip4
  const answer = await filters.request('making the clsact qdisc', addClsact(ifindex), { allowed: ['EEXIST'] })
  const isNew = answer.errno === undefined
  try {
    return await takeOver(filters, tables, shape, isNew)
  } catch (error) {
    if (isNew) await filters.request('removing the clsact qdisc', deleteClsact(ifindex)).catch(() => undefined)
    throw error
  }
}

async function takeOver(filters: DeviceFilters, tables: FilterTables, shape: FilterShape, isNew: boolean) {
  const rules = new RuleTable()
  let madeClsact = isNew
  for (const table of Object.values(tables) as FlowerTable[]) {
    const { pin, rules: found } = await leftovers(filters, table)
    madeClsact ||= pin?.madeClsact ?? false
    const isInUse = (shape.vlan === undefined) !== (table === tables.vlan)
    for (const listed of found) {
      if (!isInUse || !adopt(rules, listed, shape)) await removeFilter(filters, listed)
    }
  }
  await putPin(filters, tables, shape, madeClsact)
  return { filters, tables, shape, rules, madeClsact }
}

/** Rejects with {@link RedirectorError} `busy` when there are filters of somebody else. */
async function leftovers(filters: DeviceFilters, table: FlowerTable): Promise<Leftovers> {
  const rules: ListedBody[] = []
  let pin: Leftovers['pin']
  for (const listed of (await filters.read(table)).values()) {
    const cookie = decodeCookie(listed.filter.actions[0]?.cookie)
    if (cookie === undefined) throw taken(listed.filter)
    if (cookie.kind === 'pin') pin = cookie
    else rules.push(listed)
  }
  return { pin, rules }
}

function taken({ kind, place: { priority, handle } }: ListedFlower): RedirectorError {
  const what = `priority ${priority} is taken: a filter of kind "${kind}" with handle ${handle} is there that is not from here`
  return new RedirectorError('busy', `${what}; choose another priority, or remove it with "tc filter del"`)
}

/**
 * False for a rule that does not fit: of another VLAN, of a MAC address that the device had, or one that says nothing. What it
 * steered is software's then.
 */
function adopt(rules: RuleTable, { filter }: ListedBody, { device, vlan }: FilterShape): boolean {
  const cookie = decodeCookie(filter.actions[0]?.cookie)
  if (cookie?.kind !== 'rule' || filter.match?.vlan !== vlan) return false
  if (filter.match?.destinationMac?.equals(device.mac) !== true) return false
  const rule = ruleOf(filter, cookie.handoff)
  if (rule === undefined) return false
  return rules.adopt({ flow: rule.flow, handle: filter.place.handle, generation: cookie.generation })
}

async function removeFilter(filters: DeviceFilters, { filter }: ListedBody): Promise<void> {
  const match = filter.match ?? { family: 4 }
  await filters.request('removing a rule that is left over', deleteFlower(filter.place, match), { allowed: ['ENOENT'] })
}

async function putPin(filters: DeviceFilters, tables: FilterTables, shape: FilterShape, madeClsact: boolean) {
  const match = pinMatch(shape)
  const place = { ...tableFor(tables, match), handle: PIN_HANDLE }
  const cookie = encodeCookie({ kind: 'pin', madeClsact })
  const filter = { match, actions: pinActions(shape), offload: shape.profile.execution, cookie }
  await filters.request('trying a rule that no packet matches', replaceFlower(place, filter))
}

/**
 * Removes the rules, the pin, and the clsact qdisc when it is ours and nothing else is in it. A device that is gone has taken all
 * of them along. Rejects with {@link RedirectorError}.
 */
export async function clearDevice(device: OpenDevice): Promise<void> {
  try {
    await removeAll(device)
  } catch (error) {
    if (!(error instanceof RedirectorError) || error.reason !== 'gone') throw error
  }
}

async function removeAll(device: OpenDevice): Promise<void> {
  const { filters, tables, shape, rules, madeClsact } = device
  const entries = rules.entries()
  for (let first = 0; first < entries.length; first += REMOVALS_AT_ONCE) {
    const removals = entries.slice(first, first + REMOVALS_AT_ONCE).map(({ flow }) => removeRule(device, flow))
    const failed = (await Promise.allSettled(removals)).find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
  const match = pinMatch(shape)
  const pin = { ...tableFor(tables, match), handle: PIN_HANDLE }
  await filters.request('removing the pin', deleteFlower(pin, match), { allowed: ['ENOENT'] })
  if (madeClsact) await removeEmptyClsact(filters, tables.ip4.ifindex)
}

async function removeEmptyClsact(filters: DeviceFilters, ifindex: number): Promise<void> {
  for (const direction of ['ingress', 'egress'] as const) {
    for await (const _ of filters.dump('looking for filters', dumpHook(ifindex, direction))) return
  }
  await filters.request('removing the clsact qdisc', deleteClsact(ifindex))
}
