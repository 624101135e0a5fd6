import type { Random } from '@xoffload/core/simulation'
import { rampBytes } from '../ramp/ramp.ts'
import type { ExpectedResponse } from './response-reader.ts'

/**
 * What a response body is made of: `memory` a whole array, `shared` one that is kept in a memory file, `stream` chunks whose number nobody
 * knows before, `length` chunks with a Content-Length, `slow` the same with time between them. The last three can be continued by
 * another server.
 */
export type DownloadKind = 'memory' | 'shared' | 'stream' | 'length' | 'slow'

/** A request whose answer is the ramp from position `start` on, `length` bytes of it. */
export interface Download {
  readonly kind: DownloadKind
  readonly start: number
  readonly length: number
}

/** A request whose body is the ramp from `start` on; the answer says what has arrived. */
export interface Upload {
  readonly kind: 'upload'
  readonly start: number
  readonly length: number
  /** With `Transfer-Encoding: chunked`, else with `Content-Length`. */
  readonly chunked: boolean
}

export type PlannedRequest = Download | Upload

/** Requests that are sent at once, without waiting for answers in between. */
export interface RequestGroup {
  readonly requests: readonly PlannedRequest[]
  /** How long the client is silent before it, in milliseconds. */
  readonly think: number
}

/**
 * How a connection ends. `fin`: the client closes when it has all answers. `half-close`: it closes its half right behind the last request,
 * and reads on. `close`: the last request says `Connection: close`.
 */
export type Ending = 'fin' | 'half-close' | 'close'

/** What one client connection does. */
export interface ConnectionPlan {
  readonly groups: readonly RequestGroup[]
  readonly ending: Ending
  /** With `fin`: how long the client is silent before it closes, in milliseconds. */
  readonly linger: number
  /** How long the client does not read, now and then while it receives, in milliseconds; 0 for one that always reads. */
  readonly readPause: number
}

/** The sizes that {@link Download} `shared` has. */
export const SHARED_SIZES = [1000, 100_000, 1_000_000] as const

const LONGEST = 2_000_000
const LONGEST_SLOW = 200_000
const START_LIMIT = 251

/** The plan of one connection. */
export function planConnection(random: Random): ConnectionPlan {
  const groups = Array.from({ length: random.between(1, 20) }, () => planGroup(random))
  return {
    groups,
    ending: random.pick(['fin', 'fin', 'half-close', 'close'] as const),
    linger: planThink(random),
    readPause: random.chance(0.15) ? random.between(2, 20) : 0,
  }
}

/** Milliseconds in which an idle connection says nothing, and the bytes of a download that takes longer. */
const LONG_PAUSE = 6000
const LONG_DOWNLOAD = 6_000_000

/**
 * The plan of a connection that is idle most of its time; every tenth is busy downloading, half of these what another server can continue.
 * Each asks for something once more when its pause or its download is over.
 */
export function planMostlyIdle(number: number): ConnectionPlan {
  const short: PlannedRequest = { kind: 'memory', start: number % START_LIMIT, length: 1000 }
  const first: RequestGroup = { requests: [short], think: 0 }
  const rest = { ending: 'fin', linger: LONG_PAUSE, readPause: 0 } as const
  if (number % 10 > 0) return { ...rest, groups: [first, { ...first, think: LONG_PAUSE }] }
  const resumable = number % 20 === 0
  const long: PlannedRequest = {
    kind: resumable ? 'slow' : 'memory',
    start: number % START_LIMIT,
    // It goes on elsewhere, so it need not end soon, and must not end before a busy machine has opened all the others.
    length: resumable ? 3 * LONG_DOWNLOAD : LONG_DOWNLOAD,
  }
  return { ...rest, groups: [{ requests: [long], think: 0 }, first], readPause: resumable ? 0 : 400 }
}

function planGroup(random: Random): RequestGroup {
  const length = random.chance(0.25) ? random.between(2, 6) : 1
  return { requests: Array.from({ length }, () => planRequest(random)), think: planThink(random) }
}

/** Mostly none; sometimes long enough to be found idle. */
function planThink(random: Random): number {
  if (random.chance(0.6)) return 0
  return random.chance(0.9) ? random.between(1, 150) : random.between(150, 1500)
}

function planRequest(random: Random): PlannedRequest {
  const start = random.below(START_LIMIT)
  if (random.chance(0.25)) {
    return { kind: 'upload', start, length: planLength(random, LONGEST), chunked: random.chance(0.5) }
  }
  const kind = random.pick(['memory', 'shared', 'stream', 'length', 'slow', 'slow'] as const)
  if (kind === 'shared') return { kind, start: 0, length: random.pick(SHARED_SIZES) }
  return { kind, start, length: planLength(random, kind === 'slow' ? LONGEST_SLOW : LONGEST) }
}

/** Half of them small, few of them large. */
function planLength(random: Random, longest: number): number {
  const kind = random.below(100)
  if (kind < 50) return random.below(4000)
  if (kind < 97) return random.below(longest / 20)
  return random.below(longest)
}

/** The request as it is sent, in pieces that must not be changed. */
export function encodeRequest(request: PlannedRequest, last: boolean): Uint8Array[] {
  const { kind, start, length } = request
  const connection = last ? 'Connection: close\r\n' : ''
  const head = `/${kind}/${start}/${length} HTTP/1.1\r\nHost: soak\r\n${connection}`
  if (kind !== 'upload') return [text(`GET ${head}\r\n`)]
  if (!request.chunked) return [text(`POST ${head}Content-Length: ${length}\r\n\r\n`), ...ramp(start, length)]
  const chunks = ramp(start, length).flatMap((chunk) => [text(`${chunk.length.toString(16)}\r\n`), chunk, text('\r\n')])
  return [text(`POST ${head}Transfer-Encoding: chunked\r\n\r\n`), ...chunks, text('0\r\n\r\n')]
}

/** What the answer must be. */
export function expectedResponse(request: PlannedRequest): ExpectedResponse {
  const { kind, start, length } = request
  return kind === 'upload' ? { text: uploadAnswer(length, rampChecksum(start, length)) } : { start, length }
}

/** What the answer to an upload says. */
export function uploadAnswer(length: number, checksum: number): string {
  return `${length} bytes, CRC-32 ${checksum}\n`
}

function rampChecksum(start: number, length: number): number {
  return ramp(start, length).reduce((checksum, chunk) => Bun.hash.crc32(chunk, checksum), 0)
}

function ramp(start: number, length: number): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let sent = 0; sent < length; sent += chunks.at(-1)?.length ?? 0) {
    chunks.push(rampBytes(start + sent, Math.min(length - sent, 64 * 1024)))
  }
  return chunks
}

function text(content: string): Uint8Array {
  return Buffer.from(content, 'latin1')
}
