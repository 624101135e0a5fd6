import { RedirectorError } from '../errors.ts'
import { type ListedRule, type Redirector, type Rule, sameTarget } from '../redirector.ts'
import type { Promoter } from './promoter.ts'

/** How long the removal of what is left over may take, in milliseconds, beside the time that the hardware is expected to take. */
const PATIENCE = 5000

/**
 * Compares what an earlier process has left: a rule in hardware stays when the software redirector has the same one, and is removed
 * otherwise. Throws {@link RedirectorError} `busy` when a removal is not proven in time.
 */
export async function adoptHardwareRules(
  software: Redirector,
  hardware: Redirector,
  promoter: Promoter,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = signal === undefined ? {} : { signal }
  const found = new Map<string, ListedRule>()
  for await (const listed of hardware.list(options)) found.set(listed.rule.flow.id, listed)
  if (found.size === 0) return
  for await (const { rule } of software.list(options)) {
    const { id } = rule.flow
    const listed = found.get(id)
    if (listed === undefined || !isSame(rule, listed.rule)) continue
    promoter.adopt(rule, listed.counters)
    found.delete(id)
  }
  const limit = PATIENCE + (2 * found.size * hardware.manifest.expected.removeMicroseconds) / 1000
  const removals = [...found.values()].map(({ rule }) => {
    promoter.removeStray(rule.flow)
    return promoter.queue.remove(rule.flow, { limit, ...options })
  })
  const failed = (await Promise.allSettled(removals)).find((removal) => removal.status === 'rejected')
  if (failed === undefined) return
  signal?.throwIfAborted()
  const message = `${hardware.manifest.name} has rules that an earlier process has left, and does not remove them; try again`
  throw new RedirectorError('busy', message, { cause: failed.reason })
}

function isSame(inSoftware: Rule, inHardware: Rule): inSoftware is Extract<Rule, { action: 'steer' }> {
  if (inSoftware.action !== 'steer' || inSoftware.ended || inSoftware.returning) return false
  return inHardware.action === 'steer' && sameTarget(inSoftware.target, inHardware.target)
}
