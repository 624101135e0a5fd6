import type { FuzzTarget } from '../../../core/test/support/fuzz/index.ts'
import { ipAddresses } from './ip-addresses.ts'
import { netlinkReplies } from './netlink.ts'
import { socketDiagnostics } from './sock-diag.ts'
import { flowerFilters, netlinkDetails } from './tc.ts'

/** The decoders of this package. */
export const linuxTargets: readonly FuzzTarget[] = [
  netlinkReplies,
  flowerFilters,
  netlinkDetails,
  socketDiagnostics,
  ipAddresses,
]
