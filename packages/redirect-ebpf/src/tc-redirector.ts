import { EbpfRedirector, type EbpfRedirectorOptions } from './ebpf-redirector.ts'

/**
 * Holds and steers flows with two eBPF programs at the device's tc hooks (clsact, direct action), which share one hash map. Linux
 * 5.10 or newer with CONFIG_NET_CLS_BPF and CONFIG_TUN; libbpf 1.x; root, or CAP_BPF and CAP_NET_ADMIN, and CAP_SYS_ADMIN to adopt
 * what is not pinned. Without CAP_PERFMON the kernel puts barriers against speculation into the programs: about 0.1 us a packet.
 *
 * The rules outlive the process: when it dies, steered flows stay steered and held flows stay locked (their packets are then
 * discarded), until the next process opens the device with the same priority and handle, and adopts them; `release` does the
 * same on purpose. One process at a time owns a device and priority. It refuses to adopt rules of another layout, with a `RedirectorError`
 * `busy`.
 */
export class TcRedirector extends EbpfRedirector {
  /** Throws `RedirectorError` `invalid` for options that cannot be right. */
  constructor(options: EbpfRedirectorOptions) {
    super('tc', options)
  }
}
