import type { HostAddresses, ServiceAddress } from './address-plan.ts'
import { runTool } from './command.ts'
import { tool } from './tools.ts'

/** The device of every host, and where namespaces are found (man 8 ip-netns). */
export const hostDevice = 'eth0'
const namespaceDirectory = '/run/netns'

export function namespacePath(namespace: string): string {
  return `${namespaceDirectory}/${namespace}`
}

/** The command that runs `command` inside. `ip netns exec` would also mount a new /sys, without bpffs. */
export function insideNamespace(namespace: string, command: readonly string[]): string[] {
  return [tool('nsenter'), `--net=${namespacePath(namespace)}`, '--', ...command]
}

/** The bridge's end of a host's link. */
export interface BridgePort {
  readonly namespace: string
  readonly device: string
}

/** The name of the bridge port of the host with this index, counted from 0. */
export function portName(index: number): string {
  return `port${index + 1}`
}

export interface NetworkPlan {
  /** The namespace of the bridge. The bridge is not in the root namespace, so a crash leaves no device there. */
  readonly switchNamespace: string
  readonly hosts: readonly HostAddresses[]
  readonly namespaceOf: (host: string) => string
  readonly service: ServiceAddress | undefined
}

/** Makes namespaces, bridge, devices and addresses: two commands, then one for each host, all hosts at once. */
export async function buildNetwork(plan: NetworkPlan): Promise<void> {
  const ip = tool('ip')
  const namespaces = [plan.switchNamespace, ...plan.hosts.map((host) => plan.namespaceOf(host.name))]
  await runTool([ip, '-batch', '-'], batch(namespaces.map((name) => `netns add ${name}`)))
  await runTool([ip, '-n', plan.switchNamespace, '-batch', '-'], batch(switchCommands(plan)))
  await Promise.all(
    plan.hosts.map((host) => {
      const script = `${sysctlCommands.join('\n')}\n${ip} -batch - <<END\n${batch(hostCommands(host, plan.service))}END\n`
      return runTool(insideNamespace(plan.namespaceOf(host.name), ['/bin/sh', '-e']), script)
    }),
  )
}

/** Deletes the namespaces, and with them all that is inside. Names that do not exist are ignored. */
export async function deleteNamespaces(names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  // -force goes on after an error: another process that cleans up at the same time may have been faster.
  await runTool([tool('ip'), '-force', '-batch', '-'], batch(names.map((name) => `netns del ${name}`)), true)
}

function switchCommands(plan: NetworkPlan): string[] {
  const commands = ['link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0', 'link set br0 up']
  for (const [index, host] of plan.hosts.entries()) {
    const port = portName(index)
    const peer = `peer name ${hostDevice} address ${host.mac} netns ${plan.namespaceOf(host.name)}`
    commands.push(`link add ${port} type veth ${peer}`, `link set ${port} master br0 up`)
  }
  return commands
}

function hostCommands(host: HostAddresses, service: ServiceAddress | undefined): string[] {
  const commands = [
    'link set lo up',
    `link set ${hostDevice} up`,
    `addr add ${host.ipv4}/24 dev ${hostDevice}`,
    `addr add ${host.ipv6}/64 dev ${hostDevice} nodad`,
  ]
  if (service?.host === host.name) {
    // The host's own addresses stay the source of what the host itself begins.
    commands.push(`addr add ${service.ipv4}/32 dev ${hostDevice}`)
    commands.push(`addr add ${service.ipv6}/128 dev ${hostDevice} nodad preferred_lft 0`)
  }
  return commands
}

/**
 * A new namespace takes many of its IPv4 and TCP settings from the machine's first one, which somebody may have tuned
 * (Documentation/admin-guide/sysctl/net.rst, devconf_inherit_init_net; tcp_sk_init in net/ipv4/tcp_ipv4.c). These are the
 * defaults of the kernel, so that figures from two machines can be compared.
 */
const sysctlCommands: readonly string[] = Object.entries({
  'ipv4/ip_forward': 0,
  // The kernel's default, cubic, cannot be chosen in a namespace when the machine's list of allowed ones does not have it; reno can.
  'ipv4/tcp_congestion_control': 'reno',
  ...Object.fromEntries(
    ['all', 'default', hostDevice].flatMap((device) => [
      [`ipv4/conf/${device}/rp_filter`, 0],
      [`ipv4/conf/${device}/arp_ignore`, 0],
      [`ipv4/conf/${device}/arp_announce`, 0],
    ]),
  ),
  // Link-local addresses are usable at once, as every address here is unique by construction.
  [`ipv6/conf/${hostDevice}/accept_dad`]: 0,
  [`ipv6/conf/${hostDevice}/accept_ra`]: 0,
}).map(([key, value]) => `echo ${value} >/proc/sys/net/${key}`)

function batch(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`
}
