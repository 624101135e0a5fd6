import { formatEndpoint } from '@xoffload/core'
import { parseEndpoint } from '../../config/endpoint.ts'
import { isLoopback, socketPath } from '../../config/index.ts'
import { ClientError } from './error.ts'

/** Where a control API is. */
export type ApiAddress = { readonly socket: string } | { readonly url: string }

/**
 * Parses `unix:PATH` and `http://127.0.0.1:7901`. Only loopback addresses, so that no token is sent over a network. Throws
 * {@link ClientError}.
 */
export function parseApiAddress(text: string): ApiAddress {
  const socket = socketPath(text)
  if (socket !== undefined) return { socket }
  const endpoint = parseEndpoint(/^http:\/\/([^/]+)\/?$/.exec(text)?.[1] ?? '')
  if (endpoint === undefined || !isLoopback(endpoint.address)) {
    throw new ClientError(
      'USAGE',
      `--api: expected unix:PATH or a loopback address such as http://127.0.0.1:7901, found "${text}"`,
    )
  }
  return { url: `http://${formatEndpoint(endpoint)}` }
}

/** The address as in {@link parseApiAddress}. */
export function addressText(address: ApiAddress): string {
  return 'socket' in address ? `unix:${address.socket}` : address.url
}
