import type { HelloMessage, MacAddress } from '@xoffload/core'
import { Routes, Rtnetlink, TunnelDevice, type TunnelDeviceOptions } from '@xoffload/linux'

/** The end of the tunnel that leads to this host. */
export class Tunnel {
  readonly #end: TunnelDevice
  /** The device that all else goes through. */
  readonly #device: string
  readonly #routes = new Routes()
  readonly #rtnetlink = new Rtnetlink()
  /** Where the gateways send packets. */
  readonly target: NonNullable<HelloMessage['tunnel']>

  private constructor(end: TunnelDevice, device: string, target: NonNullable<HelloMessage['tunnel']>) {
    this.#end = end
    this.#device = device
    this.target = target
  }

  /**
   * Makes the tunnel's device, or adopts that of an earlier process. `device` is the one that the redirector works on. Throws a `LinuxError`
   * when the host refuses.
   */
  static open(options: TunnelDeviceOptions, device: string): Tunnel {
    const end = TunnelDevice.open(options)
    const { local: remote } = options
    if (options.mode === 'ipip') return new Tunnel(end, device, { mode: 'ipip', remote })
    const { identifier, port } = options
    return new Tunnel(end, device, { mode: 'vxlan', remote, identifier, port, mac: macOf(end) })
  }

  /**
   * The router that another host's address is reached through: this host sends it what came through the tunnel and has to go back.
   * Undefined when the way goes through none, or leaves by another device than the redirector's, which can send nothing there; or when
   * nothing has been sent there lately. Throws a `LinuxError`.
   */
  towards(address: string): MacAddress | undefined {
    const route = this.#routes.find(address)
    if (route?.gateway === undefined || route.ifindex !== this.#rtnetlink.link(this.#device)?.index) return undefined
    return this.#rtnetlink.neighbour(route.ifindex, route.gateway)?.mac
  }

  /** Removes the device, or leaves it for the next process. Safe to call twice. */
  close({ leave = false }: { readonly leave?: boolean } = {}): void {
    this.#routes.close()
    this.#rtnetlink.close()
    if (leave) this.#end.release()
    else this.#end.close()
  }
}

function macOf({ name, mac }: TunnelDevice): NonNullable<TunnelDevice['mac']> {
  if (mac === undefined) throw new Error(`the kernel has made ${name} without a MAC address`)
  return mac
}
