import { FlowKey, MacAddress, type SteerRule } from '@xoffload/core'
import { netlinkMessages } from '@xoffload/linux'

/** The sequence numbers of the messages in a datagram. */
export function sequencesOf(messages: Uint8Array): number[] {
  return [...netlinkMessages(messages)].map(({ sequence }) => sequence)
}

/** The flow of a client with this port. */
export function flow(port: number, family: 4 | 6 = 4): FlowKey {
  const [client, service] = family === 4 ? ['192.0.2.1', '198.51.100.1'] : ['2001:db8::1', '2001:db8:1::1']
  return FlowKey.of({ address: client, port }, { address: service, port: 80 })
}

/** A rule in mode `l2`. */
export function steer(port: number, more: Partial<SteerRule> = {}): SteerRule {
  return {
    action: 'steer',
    flow: flow(port),
    target: { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:22') },
    ...more,
  }
}
