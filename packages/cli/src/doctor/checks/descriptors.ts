import { readFileSync } from 'node:fs'
import { type Check, type Examined, ok, skipped, warning } from '../check.ts'

/** What the runtime, the redirector and the control channels have open. */
const BASE = 256

/** Compares the limit of open files (getrlimit(2), RLIMIT_NOFILE) with what the configured limits can need. */
export const descriptorsCheck: Check = {
  name: 'descriptors',
  run(examined) {
    const wanted = wantedDescriptors(examined)
    if (wanted === undefined) return undefined
    const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    if (limit === undefined) return skipped('/proc/self/limits does not tell the limit of open files')
    if (limit === 'unlimited' || Number(limit) >= wanted) return ok(`${limit} files can be open, ${wanted} are enough`)
    const advice = `raise the limit (LimitNOFILE= in a systemd unit, ulimit -n), or lower ${limitName(examined)}`
    return warning(`only ${limit} files can be open, the configured limits can need ${wanted}: ${advice}`)
  },
}

function wantedDescriptors({ role, config }: Examined): number | undefined {
  // A relayed connection has two ends here.
  if (role === 'gateway' && config !== undefined) return BASE + 2 * config.limits.connections
  if (role === 'server' && config !== undefined) return BASE + config.limits.handoffs
  return undefined
}

function limitName({ role }: Examined): string {
  return role === 'gateway' ? 'limits.connections' : 'limits.handoffs'
}
