import { EEXIST, EINVAL, ENOENT, errnoName, LinuxError } from '../errno.ts'
import { libbpf } from '../ffi/libbpf.ts'
import { NativeMemory } from '../ffi/memory.ts'

/** The two hooks of a `clsact` qdisc (net/sched/sch_ingress.c). */
export type TcDirection = 'ingress' | 'egress'

/** A place for one filter: `tc filter ... dev IFINDEX DIRECTION pref PRIORITY handle HANDLE`. Lower priorities run first. */
export interface TcFilterPlace {
  readonly ifindex: number
  readonly direction: TcDirection
  /** 1 to 65535. */
  readonly priority: number
  readonly handle: number
}

const BPF_TC_F_REPLACE = 1
const DIRECTIONS = { ingress: 1, egress: 2 } as const

const PRIVILEGE = 'it needs root, or the capability CAP_NET_ADMIN'
const ADVICE: Record<string, string> = {
  EPERM: PRIVILEGE,
  EACCES: PRIVILEGE,
  ENODEV: 'there is no such device in this network namespace',
  EEXIST: 'another filter has this priority and handle',
  EINVAL: 'another kind of filter has this priority, or the device has an "ingress" qdisc instead of "clsact"',
  EOPNOTSUPP: 'the kernel lacks CONFIG_NET_CLS_BPF or CONFIG_NET_CLS_ACT',
}

/** Gives the device a clsact qdisc. False when it has one (or an ingress qdisc) already. Throws {@link LinuxError}. */
export function createClsact(ifindex: number): boolean {
  const result = libbpf().bpf_tc_hook_create(hook(ifindex, 3).bytes)
  if (result === -EEXIST) return false
  check(`bpf_tc_hook_create(${ifindex})`, result)
  return true
}

/**
 * Removes the device's clsact qdisc **with all its filters, whoever made them**: check first that there are none
 * (`Rtnetlink.filters`). Throws {@link LinuxError}.
 */
export function destroyClsact(ifindex: number): void {
  check(`bpf_tc_hook_destroy(${ifindex})`, libbpf().bpf_tc_hook_destroy(hook(ifindex, 3).bytes))
}

/**
 * Attaches a program in direct-action mode. With `replace` it takes the place of the filter there in one step; without, EEXIST
 * when the place is taken. Throws {@link LinuxError}.
 */
export function attachTc(place: TcFilterPlace, programFd: number, options: { readonly replace?: boolean } = {}): void {
  const filter = filterOptions(place)
  filter.view.setInt32(8, programFd, true)
  filter.view.setUint32(12, options.replace === true ? BPF_TC_F_REPLACE : 0, true)
  const at = hook(place.ifindex, DIRECTIONS[place.direction])
  check(`bpf_tc_attach(${describe(place)})`, libbpf().bpf_tc_attach(at.bytes, filter.bytes))
}

/** Removes a filter. False when there was none. Throws {@link LinuxError}. */
export function detachTc(place: TcFilterPlace): boolean {
  const at = hook(place.ifindex, DIRECTIONS[place.direction])
  const result = libbpf().bpf_tc_detach(at.bytes, filterOptions(place).bytes)
  // EINVAL is the answer of a device without the qdisc.
  if (result === -ENOENT || result === -EINVAL) return false
  check(`bpf_tc_detach(${describe(place)})`, result)
  return true
}

/** The id of the BPF program at a place, undefined when there is no BPF filter. Throws {@link LinuxError}. */
export function queryTc(place: TcFilterPlace): number | undefined {
  const filter = filterOptions(place)
  const at = hook(place.ifindex, DIRECTIONS[place.direction])
  const result = libbpf().bpf_tc_query(at.bytes, filter.bytes)
  if (result === -ENOENT || result === -EINVAL) return undefined
  check(`bpf_tc_query(${describe(place)})`, result)
  return filter.view.getUint32(16, true)
}

/** `struct bpf_tc_hook` (bpf/libbpf.h). */
function hook(ifindex: number, attachPoint: number): NativeMemory {
  const memory = new NativeMemory(24)
  memory.view.setBigUint64(0, 24n, true)
  memory.view.setInt32(8, ifindex, true)
  memory.view.setUint32(12, attachPoint, true)
  return memory
}

/** `struct bpf_tc_opts` (bpf/libbpf.h): size, program fd, flags, program id, handle, priority. */
function filterOptions({ priority, handle }: TcFilterPlace): NativeMemory {
  const memory = new NativeMemory(32)
  memory.view.setBigUint64(0, 32n, true)
  memory.view.setUint32(20, handle, true)
  memory.view.setUint32(24, priority, true)
  return memory
}

function describe({ ifindex, direction, priority, handle }: TcFilterPlace): string {
  return `${direction} of ifindex ${ifindex}, priority ${priority}, handle ${handle}`
}

function check(call: string, result: number): void {
  if (result >= 0) return
  const name = errnoName(-result)
  throw new LinuxError(call, name, ADVICE[name])
}
