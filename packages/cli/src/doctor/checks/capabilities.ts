import { type Capability, effectiveCapabilities } from '@xoffload/linux'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'
import { serviceEndpoints } from '../configured.ts'
import { type NeededCapability, neededCapabilities } from '../needed-capabilities.ts'

/** Compares what this process may do with what gateway and server need. */
export const capabilitiesCheck: Check = {
  name: 'capabilities',
  run(examined) {
    const needed = neededCapabilities(serviceEndpoints(examined)?.map(({ port }) => port))
    const held = effectiveCapabilities()
    const missing = needed.filter(({ name }) => !held.has(name))
    if (missing.length > 0) return worst([lacking(missing, held), replaced(missing, held)])
    const surplus = [...held].filter((name) => !needed.some((each) => each.name === name))
    const list = needed.map(({ name }) => name).join(', ')
    if (surplus.length === 0) return ok(`exactly those that are needed: ${list}`)
    return ok(`more than needed: ${list} are enough, and a systemd unit can give them to an ordinary user`)
  },
}

function lacking(missing: readonly NeededCapability[], held: ReadonlySet<Capability>): Result | undefined {
  const lacked = missing.filter(({ impliedBy }) => impliedBy === undefined || !held.has(impliedBy))
  if (lacked.length === 0) return undefined
  return failed(`${listed(lacked)} missing: give them to the process, as the systemd units do`)
}

/** Those for which the kernel takes one that is held, and that allows much else. */
function replaced(missing: readonly NeededCapability[], held: ReadonlySet<Capability>): Result | undefined {
  const implied = missing.filter(({ impliedBy }) => impliedBy !== undefined && held.has(impliedBy))
  if (implied.length === 0) return undefined
  return warning(`${listed(implied)} missing, another one that allows more does instead: give them to the process`)
}

function listed(capabilities: readonly NeededCapability[]): string {
  return `${capabilities.map(({ name, purpose }) => `${name} (${purpose})`).join(', ')} ${capabilities.length === 1 ? 'is' : 'are'}`
}
