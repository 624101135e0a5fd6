import {
  CodecError,
  FlowKey,
  type HandoffReference,
  type MacAddress,
  RedirectorError,
  type Rule,
  type SteerRule,
  type SteerTarget,
  type VxlanTarget,
} from '@xoffload/core'
import {
  type FlowerMatch,
  LinuxError,
  type ListedFlower,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  type TcAction,
} from '@xoffload/linux'
import type { FlowerProfile } from './profile.ts'

/** Where steered packets leave, and as what. */
export interface SteerPath {
  readonly ifindex: number
  /** The source MAC address that they get. */
  readonly mac: MacAddress
}

/** What the filters of a redirector have in common. */
export interface FilterShape {
  readonly profile: FlowerProfile
  /** The device that the client's packets arrive at. */
  readonly device: { readonly mac: MacAddress }
  /** The VLAN that they arrive in. */
  readonly vlan: number | undefined
  readonly output: SteerPath
  /** The tunnel device; undefined without one. */
  readonly tunnel: SteerPath | undefined
  /**
   * The address of this host that packets to an address go from, undefined when there is no route. Throws `LinuxError` EINVAL when
   * it is none.
   */
  readonly source: (remote: string) => string | undefined
}

/** Software must see how a connection begins and ends: packets with one of these flags are not steered by the NIC. */
const CONNECTION_CONTROL = TCP_FIN | TCP_SYN | TCP_RST
/** The bit of the first byte of a MAC address that says that it is the address of a group (IEEE 802). */
const GROUP_BIT = 1
const MAXIMUM_IDENTIFIER = 0xffffff

/** What all filters of a redirector match. */
export type Ingress = Pick<FilterShape, 'device' | 'vlan'>

/** The packets of a flow that a NIC may steer. */
export function matchOf({ family, client, service }: FlowKey, ingress: Ingress): FlowerMatch {
  const ports = { sourcePort: client.port, destinationPort: service.port }
  return { ...shapeOf(family, ingress), source: client.address, destination: service.address, ...ports }
}

/** A match of the same shape that no packet has: a TCP connection of 0.0.0.0 with itself. */
export function pinMatch(ingress: Ingress): FlowerMatch {
  return { ...shapeOf(4, ingress), source: '0.0.0.0', destination: '0.0.0.0', sourcePort: 1, destinationPort: 1 }
}

function shapeOf(family: 4 | 6, { device, vlan }: Ingress): FlowerMatch {
  return {
    family,
    ...(vlan === undefined ? {} : { vlan }),
    // A promiscuous NIC also sees what a switch floods: packets that others have steered already.
    destinationMac: device.mac,
    protocol: 'tcp',
    tcpFlags: { value: 0, mask: CONNECTION_CONTROL },
    notFragmented: true,
  }
}

/**
 * The actions that carry a rule out. No checksum is computed anew: the MAC addresses are in none, and nfp refuses a csum action for
 * what no pedit has changed (`nfp_flower_loop_action`). Throws {@link RedirectorError} `unsupported` or `invalid` before anything
 * is asked of the kernel.
 */
export function actionsOf(rule: Rule, shape: FilterShape): TcAction[] {
  const { target } = checkedRule(rule, shape)
  if (target.mode === 'l2') return [rewrite(target.mac, shape.output.mac), out(shape.output)]
  if (target.mode === 'vxlan' && shape.tunnel !== undefined) {
    const source = tunnelSource(target, shape.source)
    const { remote, identifier, port } = target
    const header = { source, destination: remote, identifier, destinationPort: port, checksum: false }
    return [rewrite(target.mac, shape.tunnel.mac), { kind: 'tunnel_key', ...header }, out(shape.tunnel)]
  }
  throw unsupported(shape, `it has no steer mode ${target.mode}`)
}

/** The actions of the pin: those of a rule in mode `l2`, so that the NIC sets up for it what rules need. */
export function pinActions({ output }: FilterShape): TcAction[] {
  return [rewrite(output.mac, output.mac), out(output)]
}

/** The rule that a filter of ours carries out, undefined for a filter that is none. */
export function ruleOf(filter: ListedFlower, handoff: HandoffReference | undefined): SteerRule | undefined {
  const flow = flowOf(filter.match)
  const target = targetOf(filter)
  if (flow === undefined || target === undefined) return undefined
  return { action: 'steer', flow, target, ...(handoff === undefined ? {} : { handoff }) }
}

function flowOf(match: FlowerMatch | undefined): FlowKey | undefined {
  const { source, destination, sourcePort, destinationPort } = match ?? {}
  if (source === undefined || destination === undefined) return undefined
  if (sourcePort === undefined || destinationPort === undefined) return undefined
  try {
    return FlowKey.of({ address: source, port: sourcePort }, { address: destination, port: destinationPort })
  } catch (error) {
    if (error instanceof CodecError) return undefined
    throw error
  }
}

function targetOf({ actions }: ListedFlower): SteerTarget | undefined {
  let mac: MacAddress | undefined
  let tunnel: Omit<VxlanTarget, 'mac'> | undefined
  for (const { action } of actions) {
    if (action?.kind === 'pedit') {
      for (const edit of action.edits) if (edit.field === 'eth-destination') mac = edit.value as MacAddress
    } else if (action?.kind === 'tunnel_key') {
      const { destination: remote, identifier, destinationPort: port } = action
      tunnel = { mode: 'vxlan', remote, identifier, port }
    }
  }
  if (mac === undefined) return undefined
  return tunnel === undefined ? { mode: 'l2', mac } : { ...tunnel, mac }
}

function checkedRule(rule: Rule, shape: FilterShape): SteerRule {
  const { profile } = shape
  if (rule.action === 'hold') throw unsupported(shape, 'it cannot hold packets: put a software redirector underneath')
  if (rule.action !== 'steer') {
    throw new RedirectorError('invalid', `there is no action "${String((rule as Rule).action)}"`)
  }
  if (rule.ended === true) throw unsupported(shape, 'it cannot end a rule by itself when the client connects again')
  if (rule.returning === true) throw unsupported(shape, 'it cannot limit the hops of a packet')
  if (!profile.families.includes(rule.flow.family)) throw unsupported(shape, `it has no IPv${rule.flow.family}`)
  if (!profile.steerModes.includes(rule.target.mode)) {
    throw unsupported(shape, `it has no steer mode ${String(rule.target.mode)}`)
  }
  checkHandoff(rule.handoff)
  checkTarget(rule.target)
  const objection = profile.objection?.(rule)
  if (objection !== undefined) throw unsupported(shape, objection)
  return rule
}

function checkHandoff(reference: HandoffReference | undefined): void {
  if (reference === undefined) return
  const { handoff, epoch } = reference
  if (Number.isSafeInteger(handoff) && handoff >= 0 && epoch >>> 0 === epoch) return
  throw new RedirectorError('invalid', `handoff ${handoff} of epoch ${epoch}: a safe integer and a u32 are expected`)
}

function checkTarget(target: SteerTarget): void {
  if (target.mode === 'ipip') return
  if (((target.mac.bytes[0] as number) & GROUP_BIT) !== 0) {
    throw new RedirectorError('invalid', `${target.mac} is the address of a group: a target is one host`)
  }
  if (target.mode === 'l2') return
  const { identifier, port } = target
  if (!Number.isInteger(identifier) || identifier < 0 || identifier > MAXIMUM_IDENTIFIER) {
    throw new RedirectorError('invalid', `${identifier} is no VXLAN network identifier: 24 bits are expected`)
  }
  if (!Number.isInteger(port) || port < 1 || port > 0xffff) throw new RedirectorError('invalid', `${port} is no port`)
}

function tunnelSource({ remote }: VxlanTarget, source: (remote: string) => string | undefined): string {
  try {
    const address = source(remote)
    if (address !== undefined) return address
  } catch (error) {
    if (error instanceof LinuxError && error.errno === 'EINVAL') throw invalidRemote(remote, error)
    throw error
  }
  throw new RedirectorError('busy', `there is no route to ${remote}: try again when there is one`)
}

function invalidRemote(remote: string, cause: Error): RedirectorError {
  return new RedirectorError('invalid', `"${remote}" is no IP address`, { cause })
}

function rewrite(destination: MacAddress, source: MacAddress): TcAction {
  return {
    kind: 'pedit',
    edits: [
      { field: 'eth-destination', value: destination },
      { field: 'eth-source', value: source },
    ],
  }
}

function out({ ifindex }: SteerPath): TcAction {
  return { kind: 'mirred', ifindex }
}

function unsupported({ profile }: FilterShape, why: string): RedirectorError {
  return new RedirectorError('unsupported', `the ${profile.name} redirector cannot do this: ${why}`)
}
