import { MacAddress } from '@xoffload/core'
import { type DeviceUnderTest, type NetworkUnderTest, readFrame } from '@xoffload/core/conformance'
import { Card } from '../src/card.ts'
import { CardRedirector } from '../src/redirector.ts'

const DEVICE = MacAddress.parse('02:00:00:00:00:01')
const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const TARGET = MacAddress.parse('02:00:00:00:00:22')

/** A card of its own for a test, on a segment with a client and a target of steering. */
export function device(): DeviceUnderTest {
  let card = new Card(DEVICE)
  return {
    redirector: ({ capacity } = {}) => {
      if (capacity !== undefined && card.dump().length === 0) card = new Card(DEVICE, capacity)
      return new CardRedirector(card)
    },
    // The rules of a real card stay when a process is killed. Start one that opens the card and puts the rules, and kill it.
    crash: async (rules) => {
      const lost = new CardRedirector(card)
      await lost.open()
      for (const rule of rules) await lost.put(rule)
      card.abandon()
    },
    network: network(() => card),
  }
}

function network(card: () => Card): NetworkUnderTest {
  const arrived = { client: [] as Uint8Array[], target: [] as Uint8Array[] }
  const received = (host: 'client' | 'target') => {
    for (const frame of card().wire.splice(0)) {
      const destination = readFrame(frame)?.destination
      if (destination?.equals(CLIENT)) arrived.client.push(frame)
      if (destination?.equals(TARGET)) arrived.target.push(frame)
    }
    return arrived[host].splice(0)
  }
  return {
    device: DEVICE,
    client: CLIENT,
    clientAddresses: { 4: '192.0.2.1', 6: '2001:db8::1' },
    serviceAddresses: { 4: '198.51.100.1', 6: '2001:db8:1::1' },
    target: TARGET,
    send: (frame) => card().receive(frame),
    emit: (frame) => card().transmit(frame),
    received,
    stackPackets: () => card().stack.length,
  }
}
