import { readFileSync } from 'node:fs'
import { type Endpoint, formatEndpoint } from '@xoffload/core'
import { type Check, ok, type Result, warning, worst } from '../check.ts'
import { listeningEndpoints } from '../configured.ts'

/**
 * Nobody else listens where this host will. Looked up in the kernel's tables and not tried: a client could connect to a listener that is
 * there for a moment.
 */
export const portsCheck: Check = {
  name: 'ports',
  run(examined) {
    const endpoints = listeningEndpoints(examined)
    if (endpoints.length === 0) return undefined
    const listeners = ['tcp', 'tcp6'].flatMap(listenersIn)
    const results = endpoints.map(([purpose, endpoint]) => check(purpose, endpoint, listeners))
    return worst([...results, ok(`${endpoints.map(([, endpoint]) => formatEndpoint(endpoint)).join(', ')} are free`)])
  },
}

function check(purpose: string, endpoint: Endpoint, listeners: readonly Endpoint[]): Result | undefined {
  const taken = listeners.find(
    ({ address, port }) =>
      port === endpoint.port && (isAny(address) || isAny(endpoint.address) || address === endpoint.address),
  )
  if (taken === undefined) return undefined
  const where = formatEndpoint(endpoint)
  return warning(
    `${where}, for ${purpose}, is taken: fine while xoffload runs here, else stop what "ss -ltnp" shows there`,
  )
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}

/** A socket's state in hexadecimal (include/net/tcp_states.h). */
const TCP_LISTEN = '0A'

/** The listeners of this network namespace (proc_pid_net(5), /proc/net/tcp). */
function listenersIn(table: string): Endpoint[] {
  const lines = readFileSync(`/proc/thread-self/net/${table}`, 'latin1').split('\n').slice(1)
  return lines.flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/)
    return state === TCP_LISTEN ? [decodeEndpoint(local)] : []
  })
}

/** `0100007F:1F90`: words of four bytes in the machine's order, and the port. */
function decodeEndpoint(text: string): Endpoint {
  const [words = '', port = ''] = text.split(':')
  const bytes = (words.match(/.{8}/g) ?? []).flatMap((word) => [...Uint8Array.fromHex(word)].reverse())
  const number = Number.parseInt(port, 16)
  return { address: bytes.length === 4 ? bytes.join('.') : ipv6Text(bytes), port: number }
}

/** In the form that configured addresses have: shortened as RFC 5952 says. */
function ipv6Text(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  )
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
