/** The demo's application: `/bytes/N` answers with N bytes. The same on every server, behind the proxy and behind xoffload. */

import { SharedBody, SharedResponse } from '@xoffload/proxy-adapters/bun'

/** Responses are made once for each size, as in an object cache: making them is no part of what is measured. */
const responses = new Map<number, SharedResponse>()
const maxResponses = 16
const maxSize = 64 * 1024 * 1024

const servedBy = process.env.XOFFLOAD_SERVED_BY ?? 'unknown'

function response(size: number): SharedResponse {
  const kept = responses.get(size)
  if (kept !== undefined) return kept
  // A ramp whose period is a prime: a lost, repeated or moved block shows, also one of a power of two.
  const body = new SharedBody(new Uint8Array(size).map((_, index) => index % 251))
  const made = new SharedResponse(body, { headers: { 'x-served-by': servedBy } })
  if (responses.size < maxResponses) responses.set(size, made)
  return made
}

export function fetch(request: Request): Response {
  const size = Number(/^[^/]*\/\/[^/]*\/bytes\/(\d{1,9})$/.exec(request.url)?.[1] ?? Number.NaN)
  if (!(size <= maxSize)) return new Response('Ask for /bytes/N\n', { status: 404 })
  return response(size)
}

export default { fetch }
