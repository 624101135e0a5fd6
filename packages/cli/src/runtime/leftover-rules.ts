import type { Redirector } from '@xoffload/core'

/**
 * Removes the rules that an earlier process of this host left behind when it was killed: nobody here knows their connections. Returns
 * how many there were.
 */
export async function removeLeftoverRules(redirector: Redirector): Promise<number> {
  const flows = []
  for await (const { rule } of redirector.list()) flows.push(rule.flow)
  for (const flow of flows) await redirector.remove(flow)
  return flows.length
}
