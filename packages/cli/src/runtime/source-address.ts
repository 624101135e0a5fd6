import { isIPv6 } from 'node:net'
import type { Endpoint } from '@xoffload/core'
import { Routes } from '@xoffload/linux'

/**
 * What is wrong when a gateway's packets to a server come from a service address: a server with that on its loopback device sends the
 * answers to itself. Undefined when they do not. Throws {@link LinuxError}.
 */
export function sourceProblem(server: string, service: readonly Endpoint[]): string | undefined {
  using routes = new Routes()
  const source = routes.find(server)?.source
  if (source === undefined || !service.some(({ address }) => address === source)) return undefined
  // The kernel prefers the address whose prefix has the destination, and of several IPv6 addresses one that is not deprecated.
  const instead = isIPv6(source) ? `${source}/128 with preferred_lft 0` : `${source}/32`
  return `this host's packets to ${server} come from the service address ${source}, and a server that has it too does not answer them: give this host an address of its own, and the service address as ${instead}`
}
