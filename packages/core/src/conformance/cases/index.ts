import type { ConformanceCase } from '../case.ts'
import { abortCases } from './abort.ts'
import { adoptionCases } from './adoption.ts'
import { badInputCases } from './bad-input.ts'
import { capacityCases } from './capacity.ts'
import { concurrencyCases } from './concurrency.ts'
import { counterCases } from './counters.ts'
import { lifecycleCases } from './lifecycle.ts'
import { listingCases } from './listing.ts'
import { manifestCases } from './manifest.ts'
import { changePacketCases } from './packets/change.ts'
import { holdPacketCases } from './packets/hold.ts'
import { otherPacketCases } from './packets/others.ts'
import { steerPacketCases } from './packets/steer.ts'
import { tunnelPacketCases } from './packets/tunnel.ts'
import { ruleCases } from './rules.ts'

/** Everything that a redirector must do, from what the others build on to what they do not. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...manifestCases,
  ...lifecycleCases,
  ...ruleCases,
  ...badInputCases,
  ...counterCases,
  ...listingCases,
  ...abortCases,
  ...capacityCases,
  ...concurrencyCases,
  ...adoptionCases,
  ...steerPacketCases,
  ...holdPacketCases,
  ...otherPacketCases,
  ...tunnelPacketCases,
  ...changePacketCases,
]
