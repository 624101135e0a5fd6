import { MacAddress } from '@xoffload/core'
import { TestbedError } from './errors.ts'

/** One host's place on the segment. The prefix lengths are 24 and 64. */
export interface HostAddresses {
  readonly name: string
  readonly mac: MacAddress
  readonly ipv4: string
  readonly ipv6: string
}

/** The address that clients connect to, and the host that answers for it at first. */
export interface ServiceAddress {
  /** The name of the host whose device has the address. */
  readonly host: string
  readonly ipv4: string
  readonly ipv6: string
}

/** The size of the segment would allow more; a testbed with more hosts than this is a mistake. */
const maxHosts = 99

/** Numbers the hosts from 1 on, in the order given. Throws {@link TestbedError} for names that cannot be used. */
export function planAddresses(names: readonly string[]): HostAddresses[] {
  if (names.length === 0 || names.length > maxHosts) {
    throw new TestbedError(`A testbed has 1 to ${maxHosts} hosts, ${names.length} were given`)
  }
  return names.map((name, index) => {
    if (!/^[a-z][a-z0-9]{0,14}$/.test(name)) {
      throw new TestbedError(
        `"${name}" is no host name for a testbed: a lower-case letter, then up to 14 letters and digits`,
      )
    }
    if (names.indexOf(name) !== index) throw new TestbedError(`The host name "${name}" is given twice`)
    const number = index + 1
    return {
      name,
      // A locally administered address (IEEE 802c).
      mac: MacAddress.from(Uint8Array.of(0x02, 0x78, 0x6f, 0, 0, number)),
      ipv4: `10.77.0.${number}`,
      // A unique local address (RFC 4193).
      ipv6: `fd78:6f66:6c6f::${number}`,
    }
  })
}

export const defaultService: ServiceAddress = { host: 'gateway', ipv4: '10.77.0.200', ipv6: 'fd78:6f66:6c6f::200' }
