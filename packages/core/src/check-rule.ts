import ipaddr from 'ipaddr.js'
import { RedirectorError } from './errors.ts'
import type { MacAddress } from './mac.ts'
import type { HandoffReference } from './protocol/messages.ts'
import type { Rule, SteerTarget } from './redirector.ts'

/**
 * Whether the rule can be at all, whatever a redirector can do: for the beginning of {@link Redirector.put}. TypeScript does not say whether
 * a number is whole, nor what a program in JavaScript passes. Throws {@link RedirectorError} `invalid`.
 */
export function checkRule(rule: Rule): void {
  if (rule.handoff !== undefined) checkHandoff(rule.handoff)
  if (rule.action === 'hold') return
  if (rule.action !== 'steer') throw invalid(`"${(rule as Rule).action}" is no action: "hold" or "steer" is expected`)
  checkTarget(rule.target)
}

function checkHandoff({ handoff, epoch }: HandoffReference): void {
  if (Number.isSafeInteger(handoff) && handoff >= 0 && epoch >>> 0 === epoch) return
  throw invalid(`handoff ${handoff} of epoch ${epoch}: a safe integer and a u32 are expected`)
}

function checkTarget(target: SteerTarget): void {
  if (target.mode === 'l2') checkHost(target.mac)
  else if (target.mode === 'ipip') checkRemote(target.remote)
  else if (target.mode === 'vxlan') {
    checkRemote(target.remote)
    checkHost(target.mac)
    checkWhole('the VXLAN network identifier', target.identifier, 0, 0xff_ffff)
    checkWhole('the UDP port', target.port, 1, 0xffff)
  } else throw invalid(`"${(target as SteerTarget).mode}" is no steer mode`)
}

/** Who gets a flow is one host: the group bit is the first byte's lowest (IEEE 802.3). */
function checkHost(mac: MacAddress): void {
  if (((mac.bytes[0] ?? 0) & 1) === 1) throw invalid(`the target ${mac} is a group of hosts`)
}

function checkRemote(remote: string): void {
  if (!ipaddr.isValid(remote) || remote.includes('%')) throw invalid(`the tunnel's target "${remote}" is no IP address`)
}

function checkWhole(name: string, value: number, minimum: number, maximum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return
  throw invalid(`${name} is ${value}: a whole number from ${minimum} to ${maximum} is expected`)
}

function invalid(message: string): RedirectorError {
  return new RedirectorError('invalid', message)
}
