import { TestbedError } from '../errors.ts'

/** The two ways of a link: what the host sends, and what it gets. */
export type LinkDirection = 'fromHost' | 'toHost'

/** Indexes of the maps in bpf/faults.c. */
export const DIRECTIONS: Readonly<Record<LinkDirection, number>> = { fromHost: 0, toHost: 1 }

/** The names in bpf/faults.c. */
export const NAMES = {
  config: 'faults_config',
  state: 'faults_state',
  fromHost: 'faults_from_host',
  toHost: 'faults_to_host',
  returnFromHost: 'faults_return_from_host',
  returnToHost: 'faults_return_to_host',
} as const

/**
 * What one direction of a link does to frames. A frame may be one of the stack's large segments, which is a whole burst of packets
 * on a real wire (`ip link set DEVICE gso_max_segs 1` on the host makes them one each).
 */
export interface LinkFaultSettings {
  /** Of a million frames, so many are lost. */
  readonly lossPerMillion: number
  /** Of a million frames that are not lost, so many come twice. */
  readonly duplicatePerMillion: number
  /** Of a million frames that are not lost, so many wait for {@link reorderMicroseconds} while later ones pass. */
  readonly reorderPerMillion: number
  readonly reorderMicroseconds: number
  /** How long every frame takes more. */
  readonly delayMicroseconds: number
  /** A random time on top, from 0 to this. It does not change the order. */
  readonly jitterMicroseconds: number
  /**
   * Together with the number of frames that the direction has seen, this decides what happens to a frame: the same frames under the
   * same settings fare the same. 0 to 2^53 - 1.
   */
  readonly seed: number
}

/** A link without faults, and the defaults of the others. */
export const NO_FAULTS: LinkFaultSettings = {
  lossPerMillion: 0,
  duplicatePerMillion: 0,
  reorderPerMillion: 0,
  reorderMicroseconds: 5_000,
  delayMicroseconds: 0,
  jitterMicroseconds: 0,
  seed: 1,
}

const MILLION = 1_000_000
/** What waits has to be kept: nobody wants a minute. */
const MAXIMUM_MICROSECONDS = 10 * MILLION

const MAXIMA: Readonly<Record<keyof LinkFaultSettings, number>> = {
  lossPerMillion: MILLION,
  duplicatePerMillion: MILLION,
  reorderPerMillion: MILLION,
  reorderMicroseconds: MAXIMUM_MICROSECONDS,
  delayMicroseconds: MAXIMUM_MICROSECONDS,
  jitterMicroseconds: MAXIMUM_MICROSECONDS,
  seed: Number.MAX_SAFE_INTEGER,
}

/** The devices of one direction: where frames wait, and the bridge port that they belong to. */
export interface DirectionDevices {
  readonly tap: number
  readonly port: number
}

/** `struct faults_config`. Throws {@link TestbedError} for a value out of its range. */
export function encodeSettings(settings: LinkFaultSettings, { tap, port }: DirectionDevices): Uint8Array {
  for (const [name, maximum] of Object.entries(MAXIMA)) {
    const value = settings[name as keyof LinkFaultSettings]
    if (Number.isInteger(value) && value >= 0 && value <= maximum) continue
    throw new TestbedError(`The link fault ${name} is ${value}: a whole number from 0 to ${maximum} is expected`)
  }
  const bytes = new Uint8Array(40)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(settings.seed), true)
  view.setUint32(8, settings.lossPerMillion, true)
  view.setUint32(12, settings.duplicatePerMillion, true)
  view.setUint32(16, settings.reorderPerMillion, true)
  view.setUint32(20, settings.delayMicroseconds, true)
  view.setUint32(24, settings.jitterMicroseconds, true)
  view.setUint32(28, settings.reorderMicroseconds, true)
  view.setUint32(32, tap, true)
  view.setUint32(36, port, true)
  return bytes
}

/** What has happened to the frames of one direction since the faults were attached. */
export interface LinkFaultCounters {
  /** All frames that came, lost ones too. Copies are not counted. */
  readonly frames: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  /** Frames that went into the delay line, with their copies. */
  readonly delayed: number
  /** Frames that have come out of it. */
  readonly released: number
}

/** `struct faults_state`. */
export function decodeCounters(bytes: Uint8Array): LinkFaultCounters {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const at = (index: number): number => Number(view.getBigUint64(8 + 8 * index, true))
  return { frames: at(0), lost: at(1), duplicated: at(2), reordered: at(3), delayed: at(4), released: at(5) }
}
