/** The demo's application: `/bytes/N` answers with N bytes. The same on every server, behind the proxy and behind xoffload. */

import { SharedBody } from '@xoffload/proxy-adapters/bun'

/** Bodies are made once for each size, as in an object cache: making them is no part of what is measured. */
const bodies = new Map<number, SharedBody>()
const maxBodies = 16
const maxSize = 64 * 1024 * 1024

const servedBy = process.env.XOFFLOAD_SERVED_BY ?? 'unknown'

function body(size: number): SharedBody {
  const kept = bodies.get(size)
  if (kept !== undefined) return kept
  // A ramp whose period is a prime: a lost, repeated or moved block shows, also one of a power of two.
  const made = new SharedBody(new Uint8Array(size).map((_, index) => index % 251))
  if (bodies.size < maxBodies) bodies.set(size, made)
  return made
}

export function fetch(request: Request): Response {
  const size = Number(/^[^/]*\/\/[^/]*\/bytes\/(\d{1,9})$/.exec(request.url)?.[1] ?? Number.NaN)
  if (!(size <= maxSize)) return new Response('Ask for /bytes/N\n', { status: 404 })
  return body(size).response({ headers: { 'x-served-by': servedBy } })
}

export default { fetch }
