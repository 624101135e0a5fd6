import { EBUSY, EEXIST, errnoName, LinuxError } from '../errno.ts'
import { libbpf } from '../ffi/libbpf.ts'
import { NativeMemory } from '../ffi/memory.ts'

/**
 * Where an XDP program runs: in the driver, before the kernel has a packet structure (`native`), or in the kernel's receive path for
 * any driver (`skb`), which costs nearly as much as tc.
 */
export type XdpMode = 'driver' | 'generic'

/** The XDP program of a device. A device has one at most. */
export interface XdpAttachment {
  readonly mode: XdpMode
  readonly programId: number
}

/** XDP_FLAGS_* (include/uapi/linux/if_link.h). */
const UPDATE_IF_NOEXIST = 1
const MODE_FLAGS = { driver: 4, generic: 2 } as const

const ADVICE: Record<string, string> = {
  EPERM: 'it needs root, or the capability CAP_NET_ADMIN',
  ENODEV: 'there is no such device in this network namespace',
  EOPNOTSUPP: 'the driver of this device has no XDP',
  ERANGE: 'the MTU is too large for this driver',
  EINVAL: 'the driver refuses: the MTU is too large, or LRO is on',
  ENOTCONN: 'the device has no peer',
  ENOSPC: 'the device has fewer receive queues than its peer has transmit queues',
  EBUSY: 'the device has another XDP program',
}

/**
 * Attaches a program to a device, so that it outlives this process. With `replace` it takes the place of the one that is there in the same mode
 * in one step; without, EBUSY when there is one. Throws {@link LinuxError}: EOPNOTSUPP, ERANGE, EINVAL and others when the driver cannot.
 */
export function attachXdp(
  ifindex: number,
  programFd: number,
  mode: XdpMode,
  options: { readonly replace?: boolean } = {},
): void {
  const flags = MODE_FLAGS[mode] | (options.replace === true ? 0 : UPDATE_IF_NOEXIST)
  const result = libbpf().bpf_xdp_attach(ifindex, programFd, flags, null)
  check(`bpf_xdp_attach(${ifindex}, ${mode})`, result === -EEXIST ? -EBUSY : result)
}

/** Takes the program of this mode off the device, whoever's it is. Throws {@link LinuxError}. */
export function detachXdp(ifindex: number, mode: XdpMode): void {
  check(`bpf_xdp_detach(${ifindex}, ${mode})`, libbpf().bpf_xdp_detach(ifindex, MODE_FLAGS[mode], null))
}

/** The XDP program of a device, undefined when it has none. Throws {@link LinuxError}. */
export function queryXdp(ifindex: number): XdpAttachment | undefined {
  const id = new NativeMemory(4)
  for (const mode of ['driver', 'generic'] as const) {
    check(`bpf_xdp_query_id(${ifindex}, ${mode})`, libbpf().bpf_xdp_query_id(ifindex, MODE_FLAGS[mode], id.bytes))
    const programId = id.view.getUint32(0, true)
    if (programId !== 0) return { mode, programId }
  }
  return undefined
}

function check(call: string, result: number): void {
  if (result >= 0) return
  const name = errnoName(-result)
  throw new LinuxError(call, name, ADVICE[name])
}
