import type { FlowerMatch, FlowerTable } from '@xoffload/linux'

/** Where a redirector has its filters. */
export interface FilterTables {
  readonly ip4: FlowerTable
  readonly ip6: FlowerTable
  readonly vlan: FlowerTable
}

/** The three tables from a priority on. */
export function filterTables(ifindex: number, chain: number, priority: number): FilterTables {
  const table = (offset: number): FlowerTable => ({
    ifindex,
    direction: 'ingress',
    chain,
    priority: priority + offset,
  })
  return { ip4: table(0), ip6: table(1), vlan: table(2) }
}

/** The table in which a filter with this match is. */
export function tableFor({ ip4, ip6, vlan }: FilterTables, match: FlowerMatch): FlowerTable {
  if (match.vlan !== undefined) return vlan
  return match.family === 4 ? ip4 : ip6
}
