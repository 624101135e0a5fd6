import { writeFileSync } from 'node:fs'
import { runTool } from '../command.ts'
import { TestbedError } from '../errors.ts'
import { tool } from '../tools.ts'

/** Tells a program inside the guest where the virtual NIC's kernel module is. */
export const nicModuleVariable = 'XOFFLOAD_NIC_MODULE'

/** How a virtual NIC behaves and misbehaves: the module's parameters (`testbed/nic/knobs.c`). They are the same for all NICs. */
export interface NicKnobs {
  /** The driver that its ports say they have; refusals are in the words of that driver, or of mlx5_core. Default `mlx5_core`. */
  readonly driver?: string
  readonly firmware?: string
  /** Microseconds that the card takes for a command. Commands wait for each other. Default 0. */
  readonly insert_delay_us?: number
  readonly remove_delay_us?: number
  /** Rules that a NIC holds; one more is ENOSPC. Default 65,536. */
  readonly table_size?: number
  /** Microseconds from accepting a rule to executing it, -1 for never: its packets go to the host until then. Default 0. */
  readonly activate_after_us?: number
  /** The counters of rules stay where they are. */
  readonly lose_counters?: boolean
  /** Rewriting IP addresses or ports takes `csum`, as with nfp. */
  readonly csum_required?: boolean
  /** What rules must not use, separated by commas: see `refuse` in `knobs.c`. */
  readonly refuse?: string
  /** How many of the next insertions fail, -1 for all; with which errno, and with which extack text. */
  readonly fail_inserts?: number
  readonly fail_errno?: number
  readonly fail_message?: string
}

/**
 * Cards with the mean times of inserting and of removing one rule that the XO paper (NSDI'26) gives for them. The driver of
 * Netronome's Agilio insists on `csum`.
 */
export const cardKnobs = {
  connectX5: { driver: 'mlx5_core', insert_delay_us: 476, remove_delay_us: 404 },
  connectX7: { driver: 'mlx5_core', insert_delay_us: 2143, remove_delay_us: 1134 },
  agilio: { driver: 'nfp', insert_delay_us: 68, remove_delay_us: 65, csum_required: true },
} as const satisfies Readonly<Record<string, NicKnobs>>

/** A port of a virtual NIC. */
export interface NicPort {
  /** The device that the host has, with tc-flower offload. */
  readonly host: string
  /** The device on the other end: what is sent to it arrives at the NIC, and it receives what the NIC sends. */
  readonly wire: string
}

/** What a port has counted since it was made (`ethtool -S`). */
export interface NicCounters {
  readonly hw_rules_inserted: number
  readonly hw_rules_removed: number
  readonly hw_rules_refused: number
  /** Frames that a rule was found for, and their bytes without Ethernet headers. */
  readonly hw_packets: number
  readonly hw_bytes: number
  /** Frames that went to the host because there was no rule. */
  readonly hw_missed_packets: number
  /** Frames that a rule could not be executed on. */
  readonly hw_failed_packets: number
}

/** The counters that `ethtool --statistics` shows of a port, wherever the port is. */
export function nicCounters(shown: string): NicCounters {
  const entries = [...shown.matchAll(/^\s*(\w+): (\d+)$/gm)].map(([, name, value]) => [name, Number(value)])
  return Object.fromEntries(entries) as NicCounters
}

/**
 * Virtual NICs with tc-flower offload, for programs inside a guest: the kernel module in `testbed/nic`, which executes the rules that
 * it accepts before the host sees the packet. There is one module, so there is one of these at a time.
 */
export class VirtualNic implements AsyncDisposable {
  /** By NIC, and then by port. Redirects work between the ports of one NIC. */
  readonly nics: readonly (readonly NicPort[])[]

  private constructor(nics: number, ports: number) {
    this.nics = Array.from({ length: nics }, (_, nic) =>
      Array.from({ length: ports }, (_, port) => ({ host: `xn${nic}p${port}`, wire: `xn${nic}p${port}w` })),
    )
  }

  /** Loads the module. Throws {@link TestbedError} outside a guest. */
  static async load(options: { nics?: number; ports?: number; knobs?: NicKnobs } = {}): Promise<VirtualNic> {
    const file = process.env[nicModuleVariable]
    if (file === undefined) throw new TestbedError('A virtual NIC exists only in a guest: run this there')
    const { nics = 1, ports = 2, knobs = {} } = options
    await runTool([tool('insmod'), file, `nics=${nics}`, `ports=${ports}`])
    const nic = new VirtualNic(nics, ports)
    nic.set(knobs)
    return nic
  }

  /** A port. Throws {@link TestbedError} when there is none. */
  port(port: number, nic = 0): NicPort {
    const found = this.nics[nic]?.[port]
    if (found === undefined) throw new TestbedError(`There is no port ${port} of a virtual NIC ${nic}`)
    return found
  }

  /** Changes how the NICs behave from now on. What is not given stays as it is. */
  set(knobs: NicKnobs): void {
    for (const [name, value] of Object.entries(knobs)) {
      const text = typeof value === 'boolean' ? Number(value) : value
      writeFileSync(`/sys/module/xoffload_nic/parameters/${name}`, `${text}\n`)
    }
  }

  /** The cards forget all their rules, and nobody is told, as when firmware resets. */
  reset(): void {
    writeFileSync('/sys/module/xoffload_nic/parameters/reset', '1')
  }

  /** What a port has counted; it must be in this network namespace. */
  async counters(port: NicPort): Promise<NicCounters> {
    return nicCounters((await runTool([tool('ethtool'), '--statistics', port.host])).stdout)
  }

  /** Unloads the module: devices, rules and qdiscs go with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await runTool([tool('rmmod'), 'xoffload_nic'])
  }
}
