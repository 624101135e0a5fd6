import { isIP } from 'node:net'
import { CodecError, type Endpoint, FlowKey } from '@xoffload/core'

/**
 * The endpoint when both parts are valid, else undefined. The address comes back in its usual form. Only complete addresses: what
 * inet_aton(3) takes besides (`10.1`, `0x7f.1`) is more often a mistake.
 */
export function endpointOf(address: string, port: number): Endpoint | undefined {
  if (isIP(address) === 0) return undefined
  try {
    return FlowKey.of({ address, port }, { address, port }).client
  } catch (error) {
    if (error instanceof CodecError) return undefined
    throw error
  }
}

/** Parses `192.0.2.1:80` and `[2001:db8::1]:80`; undefined for anything else. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([0-9]{1,5})$/i.exec(text)
  if (match === null) return undefined
  const [, bracketed, plain, port] = match
  return endpointOf(bracketed ?? plain ?? '', Number(port))
}

/** Whether the address stands for "any": it can be listened on, but nobody can connect to it. */
export function isUnspecified({ address }: Endpoint): boolean {
  return address === '0.0.0.0' || address === '::'
}

/** A string that is equal for equal endpoints. */
export function endpointKey({ address, port }: Endpoint): string {
  return `${address} ${port}`
}
