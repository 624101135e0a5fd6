/** A family of cards, as its firmware tells it. */
export interface ConnectXCard {
  readonly name: string
  /** The first number of the firmware's version. */
  readonly firmware: number
  /** Microseconds for one rule in NIC mode. */
  readonly expected: { readonly insertMicroseconds: number; readonly removeMicroseconds: number }
}

/** Li et al., "Remote TCP Connection Offload with XO", measured with one rule at a time. */
const CONNECTX_5 = { insertMicroseconds: 476, removeMicroseconds: 404 }
/** The same source. Of the cards between the two nothing was measured; the slower one is the safer guess. */
const CONNECTX_7 = { insertMicroseconds: 2143, removeMicroseconds: 1134 }

/** The cards that flower was made for. Before ConnectX-5 there is no hairpin. */
export const CARDS: readonly ConnectXCard[] = [
  { name: 'ConnectX-5', firmware: 16, expected: CONNECTX_5 },
  { name: 'ConnectX-6', firmware: 20, expected: CONNECTX_7 },
  { name: 'ConnectX-6 Dx', firmware: 22, expected: CONNECTX_7 },
  { name: 'BlueField-2', firmware: 24, expected: CONNECTX_7 },
  { name: 'ConnectX-6 Lx', firmware: 26, expected: CONNECTX_7 },
  { name: 'ConnectX-7', firmware: 28, expected: CONNECTX_7 },
  { name: 'BlueField-3', firmware: 32, expected: CONNECTX_7 },
]

const OLDEST = 16
const NEWEST_KNOWN = 32

/**
 * The card with a firmware such as `28.39.1002 (MT_0000000838)`. Undefined for one that is too old, and for a text that is no
 * version.
 */
export function cardOf(firmware: string): ConnectXCard | undefined {
  const version = /^(\d+)\.\d+\.\d+/.exec(firmware)?.[1]
  if (version === undefined) return undefined
  const number = Number(version)
  const known = CARDS.find((card) => card.firmware === number)
  if (known !== undefined || number < OLDEST) return known
  // A card that is newer than this list can do what the ones before it can.
  return number > NEWEST_KNOWN ? { name: 'ConnectX', firmware: number, expected: CONNECTX_7 } : undefined
}
