import { Rtnetlink, readSysctl, writeSysctl } from '@xoffload/linux'
import { deviceIndex } from '../runtime/device.ts'

/** What a server needs so that it answers with the service address and yet does not claim it on the segment. */
export interface ServiceAddressOptions {
  /** IPv4 and IPv6 addresses. */
  readonly addresses: readonly string[]
  /** The device on the segment that is shared with the gateway. */
  readonly device: string
  /** What is there is an earlier process's, and this one's to remove. */
  readonly adopt?: boolean
}

/**
 * Puts service addresses on the loopback device, and keeps this host from answering or asking with them in ARP
 * (`arp_ignore`, `arp_announce` in Documentation/networking/ip-sysctl.rst): on the segment they are the gateway's. IPv6 neighbour
 * discovery answers only for addresses of the device itself, so that it needs no such setting.
 */
export class ServiceAddresses {
  readonly #undo: (() => void)[] = []

  private constructor() {}

  /** Throws a LinuxError, with everything undone, when the host refuses. What was set up before is left as it is, unless it is adopted. */
  static setUp(options: ServiceAddressOptions): ServiceAddresses {
    const made = new ServiceAddresses()
    try {
      if (options.addresses.some((address) => !address.includes(':'))) made.#quietArp(options.device)
      for (const address of options.addresses) made.#add(address, options.adopt ?? false)
    } catch (error) {
      made.undo()
      throw error
    }
    return made
  }

  /** Takes back what was changed, the last first. Safe to call twice. */
  undo(): void {
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) step()
  }

  #quietArp(device: string): void {
    this.#setSysctl(`ipv4/conf/${device}/arp_ignore`, '1')
    this.#setSysctl(`ipv4/conf/${device}/arp_announce`, '2')
  }

  #setSysctl(name: string, value: string): void {
    const before = readSysctl(name)
    if (before === value) return
    writeSysctl(name, value)
    this.#undo.push(() => writeSysctl(name, before))
  }

  #add(address: string, adopt: boolean): void {
    const loopback = deviceIndex('lo')
    const added = { address, prefixLength: address.includes(':') ? 128 : 32 }
    using rtnetlink = new Rtnetlink()
    if (!rtnetlink.addAddress(loopback, added, { noDuplicateDetection: true }) && !adopt) return
    this.#undo.push(() => {
      using again = new Rtnetlink()
      again.removeAddress(loopback, added)
    })
  }
}
