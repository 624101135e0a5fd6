import type { MacAddress } from '@xoffload/core'
import type { DeviceDescription } from './profile.ts'

/** Many requests in one datagram, carried out in their order, and what the kernel answered. */
export interface Exchange {
  /** The datagrams of the answers. */
  readonly datagrams: readonly Uint8Array[]
  /** The kernel has thrown answers away for want of room: what they were about is done all the same. */
  readonly overflow: boolean
}

export type DumpPurpose = 'look' | 'listing'

/** The requests to the kernel of one redirector. No call blocks the event loop. */
export interface FlowerConnection {
  /**
   * Sends messages and resolves when the kernel has carried all of them out. Rejects with `LinuxError` when none of them was. It
   * takes as long as the NIC takes for them: there is no way to end a system call that a driver does not end.
   */
  exchange(messages: Uint8Array): Promise<Exchange>
  /**
   * The datagrams of a dump, which is read no faster than they are taken. `purpose`: a `look` is taken at once and to its end, so
   * that the next one can wait for it; a `listing` may be left standing by whoever reads it, so there can only be a few at a time
   * (`LinuxError` EBUSY). Rejects with `LinuxError`.
   */
  dump(message: Uint8Array, purpose: DumpPurpose): AsyncIterable<Uint8Array>
  /**
   * The address that packets to `remote` go from, undefined when there is no route. Throws `LinuxError` EINVAL when it is no
   * address.
   */
  sourceOf(remote: string): string | undefined
  /** Ends it. Exchanges that are under way are waited for, up to a limit. Safe to call twice. */
  close(): Promise<void>
}

/** What a redirector asks of its host, in the network namespace in which it is called. */
export interface FlowerKernel {
  /** Undefined when there is no such device. Throws `LinuxError`. */
  describe(device: string): DeviceDescription | undefined
  /** The index and the address of a device that packets are sent through, undefined when there is none. */
  find(device: string): { readonly ifindex: number; readonly mac: MacAddress | undefined } | undefined
  /**
   * Undefined when somebody has a connection of this name: a device and priority have one owner at a time. Throws `LinuxError` (`EPERM`
   * without CAP_NET_ADMIN).
   */
  connect(name: string): FlowerConnection | undefined
  /** CLOCK_MONOTONIC, in nanoseconds. */
  now(): bigint
}
