/**
 * `uri-host [":" port]` (RFC 9110 7.2). No user information, no percent-encoding that could hide a delimiter,
 * because the value becomes part of the URL that the application sees.
 */
const AUTHORITY = /^(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/
const ABSOLUTE = /^https?:\/\/([^/?]+)([/?].*)?$/i

/** Whether `text` is a host with an optional port as it may stand in `Host`. An empty value is valid (RFC 9112 3.2). */
export function isHost(text: string): boolean {
  return text === '' || AUTHORITY.test(text)
}

/**
 * Whether `target` has a form that is allowed for `method` (RFC 9112 3.2): origin-form for all but CONNECT, absolute-form
 * (`http` or `https`), authority-form for CONNECT only, `*` for OPTIONS only. The characters are checked by the caller.
 */
export function isRequestTarget(method: string, target: string): boolean {
  if (method === 'CONNECT') return AUTHORITY.test(target) && /:[0-9]+$/.test(target)
  if (target.startsWith('/')) return true
  if (target === '*') return method === 'OPTIONS'
  const authority = ABSOLUTE.exec(target)?.[1]
  return authority !== undefined && AUTHORITY.test(authority)
}
