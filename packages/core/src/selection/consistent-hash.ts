import { propertyReader, type RequestProperty } from './request-property.ts'
import { roundRobin } from './round-robin.ts'
import type { ServerSelector, ServerState } from './server-selector.ts'

export interface ConsistentHashOptions {
  readonly property: RequestProperty
  /** Picks for a request without the property. Default: round robin. */
  readonly otherwise?: ServerSelector
}

/**
 * Requests with the same value of a property go to the same server.
 *
 * Rendezvous hashing (Thaler and Ravishankar, 1998): every server is given a score by the hash of its name and the value, and the
 * highest score wins. When a server goes, only its own values move, evenly to all others; when it returns, the same values return.
 * Unlike a ring it needs no table that is rebuilt at every change and no virtual nodes for its balance. Its cost grows with the
 * number of servers (a few nanoseconds each), which at a load balancer are few.
 */
export function consistentHash({ property, otherwise = roundRobin() }: ConsistentHashOptions): ServerSelector {
  const read = propertyReader(property)
  const nameHash = rememberingHash()
  return <S extends ServerState>(request: Parameters<ServerSelector>[0], servers: readonly S[]): S | undefined => {
    const value = read(request)
    if (value === undefined) return otherwise(request, servers)
    const valueHash = mix(hash(value))
    let best: S | undefined
    let highest = -1
    for (const server of servers) {
      if (!server.up) continue
      const score = mix(valueHash ^ nameHash(server.name))
      // Equal scores are decided by name, so that the order of the list means nothing.
      if (score < highest || (score === highest && best && server.name > best.name)) continue
      best = server
      highest = score
    }
    return best
  }
}

/** The names of servers are few and come at every request; the bound is for a list that changes for ever. */
function rememberingHash(): (name: string) => number {
  const known = new Map<string, number>()
  return (name) => {
    let value = known.get(name)
    if (value === undefined) {
      if (known.size >= 4096) known.clear()
      // Another constant than for values: a value that equals a name must not cancel it out.
      value = mix(hash(name) ^ 0x9e37_79b9)
      known.set(name, value)
    }
    return value
  }
}

/** FNV-1a, 32 bits, over UTF-16 code units (both bytes of each). */
function hash(text: string): number {
  let value = 0x811c_9dc5
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    value = Math.imul(value ^ (unit & 0xff), 0x0100_0193)
    value = Math.imul(value ^ (unit >> 8), 0x0100_0193)
  }
  return value
}

/** The finaliser of MurmurHash3: every bit of the input changes every bit of the result with probability one half. Unsigned. */
function mix(input: number): number {
  let value = input
  value = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2_ae35)
  return (value ^ (value >>> 16)) >>> 0
}
