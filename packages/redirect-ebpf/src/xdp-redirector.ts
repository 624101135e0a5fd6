import type { XdpMode } from '@xoffload/linux'
import { EbpfRedirector, type EbpfRedirectorOptions } from './ebpf-redirector.ts'
import type { XdpChoice } from './xdp-hook.ts'

export interface XdpRedirectorOptions extends EbpfRedirectorOptions {
  /**
   * `driver`: native XDP, or an error. `generic`: without the driver's help, on any device. `auto`, the default: `driver` where the device can
   * do it, and where that is known to be right; else `generic`.
   */
  readonly mode?: XdpChoice
}

/**
 * `TcRedirector` with an XDP program in front, which steers to targets on this segment before the kernel has made a packet structure. It has all
 * that the tc redirector has: what the XDP program does not take (held packets, tunnels, `returning` rules, the SYN that ends a
 * rule, packets whose checksum is left to hardware) it passes on to the tc programs, which find the same rule in the same map. So
 * one may adopt what the other left.
 *
 * Linux 5.18 or newer. Made for drivers with native XDP that send frames back (XDP_TX), multi-buffer frames included: mlx5, ice, i40e,
 * ixgbe, bnxt, virtio_net, ena, veth. Held against `auto`:
 * - A NIC that takes VLAN tags out of frames (`rx-vlan-offload`) would send tagged frames back untagged: it gets `generic`. Where no
 *   connection arrives with a tag, `driver` is right all the same; where one does, `ethtool -K DEVICE rxvlan off` puts it right.
 * - On veth the peer must have an XDP program, too, any: else nobody takes what is sent back. (GRO alone gives it the queue, but nobody
 *   looks into that.) It must also leave VLAN tags in the frames (`ethtool -K PEER txvlan off`). `auto` cannot see the peer, and takes
 *   `generic`. The peer's checksums are partial, unless it has `tx off`: its packets pass through tc then, and stay right.
 *
 * A device has one XDP program: it is `busy` while it has another's.
 */
export class XdpRedirector extends EbpfRedirector {
  /** Throws `RedirectorError` `invalid` for options that cannot be right. */
  constructor(options: XdpRedirectorOptions) {
    super('xdp', options, options.mode ?? 'auto')
  }

  /** The mode in use, undefined when it is not open. */
  get mode(): XdpMode | undefined {
    return this.xdpMode
  }
}
