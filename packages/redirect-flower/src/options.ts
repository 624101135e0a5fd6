import { RedirectorError } from '@xoffload/core'
import type { FlowerKernel } from './kernel.ts'

export interface FlowerRedirectorOptions {
  /** The network device that the client's packets arrive at, in the process's network namespace. */
  readonly device: string
  /** The device that steered packets leave by; default the one that they arrived at (hairpin). */
  readonly output?: string
  /** The VLAN of the client's packets, 0 to 4095; they keep their tag. Without it only packets without a tag are steered. */
  readonly vlan?: number
  /** A VXLAN device with external control (`ip link add NAME type vxlan external dstport 4789`), for steering in mode `vxlan`. */
  readonly tunnel?: string
  /** The most flows that may have a rule, default what the card has room for. */
  readonly capacity?: number
  /** The first of three priorities for the filters, default 100. Filters with lower ones see packets first. */
  readonly priority?: number
  /** The chain of the filters, default 0, which is where packets begin. */
  readonly chain?: number
  /** Default: the kernel of this host. */
  readonly kernel?: FlowerKernel
}

/** A table has one protocol, so there are three of them, with priorities one after another. */
export const PRIORITIES = 3

/** Throws {@link RedirectorError} `invalid` for options that cannot be right. */
export function checkOptions({ vlan, capacity, priority, chain }: FlowerRedirectorOptions): void {
  whole('vlan', vlan, 0, 0xfff)
  whole('capacity', capacity, 1, 0x7ffffff0)
  whole('priority', priority, 1, 0xffff - PRIORITIES + 1)
  whole('chain', chain, 0, 0xffffffff)
}

function whole(name: string, value: number | undefined, minimum: number, maximum: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= minimum && value <= maximum)) return
  throw new RedirectorError('invalid', `${name} is ${value}: a whole number from ${minimum} to ${maximum} is expected`)
}
