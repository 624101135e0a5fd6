import type { RequestHead } from '../http/index.ts'
import type { RequestBody } from './request-body.ts'

/**
 * Methods that `Request` keeps as they are. It turns an unknown one into GET, or normalises its case, and a handler must never
 * see another method than the client sent.
 */
const faithful = new Map<string, boolean>()
const MOST_METHODS = 256

/** Whether a handler can be given a request with this method. CONNECT asks for a tunnel, TRACE would echo credentials. */
export function isServable(method: string): boolean {
  let known = faithful.get(method)
  if (known !== undefined) return known
  known = method !== 'CONNECT' && method !== 'TRACE' && new Request('http://localhost/', { method }).method === method
  // Methods come from the network: their memory is bounded.
  if (faithful.size < MOST_METHODS) faithful.set(method, known)
  return known
}

/**
 * The request as a handler sees it. @param origin the scheme and authority to use when the client named none.
 * @throws TypeError when the target and host make no URL.
 */
export function createRequest(
  head: RequestHead,
  origin: () => string,
  signal: AbortSignal,
  body: Uint8Array | RequestBody | undefined,
): Request {
  const init: RequestInit = { method: head.method, headers: head.headers.toArray(), signal }
  if (body !== undefined) init.body = body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : body.stream
  return new Request(url(head, origin), init)
}

function url({ target, headers }: RequestHead, origin: () => string): string {
  // An absolute target names the authority itself and wins over Host (RFC 9112 3.2.2).
  if (!target.startsWith('/') && target !== '*') return target
  const host = headers.get('host')
  const base = host === undefined || host === '' ? origin() : `http://${host}`
  return target === '*' ? `${base}/*` : base + target
}
