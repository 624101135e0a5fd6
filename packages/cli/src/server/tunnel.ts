import type { HelloMessage, MacAddress } from '@xoffload/core'
import { Routes, Rtnetlink, TunnelDevice, type TunnelDeviceOptions } from '@xoffload/linux'

/** The end of the tunnel that leads to this host. */
export class Tunnel {
  readonly #device: TunnelDevice
  readonly #routes = new Routes()
  readonly #rtnetlink = new Rtnetlink()
  /** Where the gateways send packets. */
  readonly target: NonNullable<HelloMessage['tunnel']>

  private constructor(device: TunnelDevice, target: NonNullable<HelloMessage['tunnel']>) {
    this.#device = device
    this.target = target
  }

  /** Makes the device, or adopts that of an earlier process. Throws a `LinuxError` when the host refuses. */
  static open(options: TunnelDeviceOptions): Tunnel {
    const device = TunnelDevice.open(options)
    const { local: remote } = options
    if (options.mode === 'ipip') return new Tunnel(device, { mode: 'ipip', remote })
    const { identifier, port } = options
    return new Tunnel(device, { mode: 'vxlan', remote, identifier, port, mac: macOf(device) })
  }

  /**
   * The first station on the way to another host's address: this host sends it what came through the tunnel and has to go back.
   * Undefined when that is not known, as when nothing has been sent there lately. Throws a `LinuxError`.
   */
  towards(address: string): MacAddress | undefined {
    const route = this.#routes.find(address)
    return route && this.#rtnetlink.neighbour(route.ifindex, route.gateway ?? address)?.mac
  }

  /** Removes the device, or leaves it for the next process. Safe to call twice. */
  close({ leave = false }: { readonly leave?: boolean } = {}): void {
    this.#routes.close()
    this.#rtnetlink.close()
    if (leave) this.#device.release()
    else this.#device.close()
  }
}

function macOf({ name, mac }: TunnelDevice): NonNullable<TunnelDevice['mac']> {
  if (mac === undefined) throw new Error(`the kernel has made ${name} without a MAC address`)
  return mac
}
