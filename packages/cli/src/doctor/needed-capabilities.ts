import { type Capability, LinuxError, readSysctl } from '@xoffload/linux'

/** A capability that gateway and server need, and what for. */
export interface NeededCapability {
  readonly name: Capability
  readonly purpose: string
  /** Another one that the kernel takes instead. */
  readonly impliedBy?: Capability
}

/** What both roles need whatever they are configured to. Each was taken away in turn, to see what fails without it. */
const ALWAYS: readonly NeededCapability[] = [
  { name: 'CAP_NET_ADMIN', purpose: 'TCP_REPAIR, tc filters, TAP devices and network settings' },
  { name: 'CAP_NET_RAW', purpose: 'the acknowledgement that a moved connection begins with' },
  { name: 'CAP_BPF', purpose: 'loading BPF programs', impliedBy: 'CAP_SYS_ADMIN' },
]

/** The capabilities that a gateway or server with these service ports needs; without ports, for any port. */
export function neededCapabilities(ports: readonly number[] | undefined): readonly NeededCapability[] {
  const first = firstUnprivilegedPort()
  const lowest = Math.min(...(ports ?? [1]))
  if (lowest >= first) return ALWAYS
  return [...ALWAYS, { name: 'CAP_NET_BIND_SERVICE', purpose: `service ports below ${first}` }]
}

function firstUnprivilegedPort(): number {
  try {
    return Number(readSysctl('ipv4/ip_unprivileged_port_start'))
  } catch (error) {
    // A network namespace has the setting since Linux 4.11; PROT_SOCK is what it replaced.
    if (error instanceof LinuxError && error.errno === 'ENOENT') return 1024
    throw error
  }
}
