import { readdirSync } from 'node:fs'
import { BpfMap, bpfProgramInfo, inNetworkNamespace, Rtnetlink } from '@xoffload/linux'
import type { Host } from './host.ts'
import type { HostProcess } from './host-process.ts'

/** The number of file descriptors that a program has open. */
export function openFiles(program: HostProcess): number {
  return readdirSync(`/proc/${program.pid}/fd`).length
}

/** The number of rules in the flow tables that redirectors have on a host's device, read from outside of their processes. */
export function ruleCount(host: Host): number {
  return inNetworkNamespace(host.namespacePath, () => {
    using rtnetlink = new Rtnetlink()
    const device = rtnetlink.link(host.device)?.index ?? 0
    let count = 0
    for (const { programId } of rtnetlink.filters(device, 'ingress')) {
      const program = programId === undefined ? undefined : bpfProgramInfo(programId)
      for (const id of program?.mapIds ?? []) {
        const map = BpfMap.fromId(id)
        try {
          if (map.info.name.startsWith('xo_flows')) count += countEntries(map)
        } finally {
          map.close()
        }
      }
    }
    return count
  })
}

function countEntries(map: BpfMap): number {
  let count = 0
  for (const batch of map.batches()) count += batch.count
  return count
}
