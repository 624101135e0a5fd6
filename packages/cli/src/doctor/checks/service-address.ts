import { networkInterfaces } from 'node:os'
import type { Endpoint } from '@xoffload/core'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'
import { serviceEndpoints } from '../configured.ts'

/** The service addresses are the gateway's on the segment; a server has them on its loopback device, while its agent runs. */
export const serviceAddressCheck: Check = {
  name: 'service-address',
  run(examined) {
    const endpoints = serviceEndpoints(examined)
    if (endpoints === undefined) return undefined
    const check = examined.role === 'gateway' ? onGateway : onServer
    const addresses = new Set(endpoints.map(({ address }) => address))
    return worst([...addresses].map((address) => check(address, devicesWith(address))))
  },
}

function onGateway(address: string, devices: readonly string[]): Result {
  if (devices.length > 0) return ok(`${address} is on ${devices.join(', ')}`)
  return failed(`${address} is on no device that is up: ip address add ${address} dev DEVICE`)
}

function onServer(address: string, devices: readonly string[]): Result {
  const others = devices.filter((device) => device !== 'lo')
  if (others.length > 0)
    return failed(`${address} is on ${others.join(', ')}, where this server would take it from the gateway: remove it`)
  if (devices.length === 0) return ok(`${address} is on no device; the agent adds it to lo`)
  return warning(`${address} is on lo already: fine while an agent runs here, else remove it`)
}

function devicesWith(address: Endpoint['address']): string[] {
  return Object.entries(networkInterfaces()).flatMap(([device, addresses]) =>
    addresses?.some((each) => each.address === address) ? [device] : [],
  )
}
