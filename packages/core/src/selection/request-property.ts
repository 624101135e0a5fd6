import { XoffloadError } from '../errors.ts'
import type { SelectionRequest } from './server-selector.ts'

/**
 * What of a request decides: `path` (the target without its query), `client` (the client's address without its port), a header
 * field, a cookie, or whatever a function makes of the request. Undefined when the request has no such thing.
 */
export type RequestProperty =
  | 'path'
  | 'client'
  | { readonly header: string }
  | { readonly cookie: string }
  | ((request: SelectionRequest) => string | undefined)

/** A function that reads the property. Throws {@link XoffloadError} for an empty name. */
export function propertyReader(property: RequestProperty): (request: SelectionRequest) => string | undefined {
  if (typeof property === 'function') return property
  if (property === 'path') return ({ target }) => pathOf(target)
  if (property === 'client') return ({ client }) => client.address
  const name = 'header' in property ? property.header : property.cookie
  if (name === '')
    throw new XoffloadError('SELECTION', 'the name of a header field or cookie to select by must not be empty')
  if ('header' in property) return (request) => request.header(name)
  return (request) => cookie(request.header('cookie'), name)
}

/** The path of a request target in origin form or absolute form (RFC 9112 section 3.2). */
function pathOf(target: string): string {
  const scheme = target.startsWith('/') ? -1 : target.indexOf('://')
  const start = scheme < 0 ? 0 : target.indexOf('/', scheme + 3)
  if (start < 0) return '/'
  const query = target.indexOf('?', start)
  return target.slice(start, query < 0 ? undefined : query)
}

/** The value of a cookie as sent (RFC 6265 section 5.4): the first of that name. */
function cookie(field: string | undefined, name: string): string | undefined {
  for (const pair of field?.split(';') ?? []) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
  }
  return undefined
}
