import type { FlowCounters, ListedRule, MacAddress, Rule } from '@xoffload/core'
import { type FrameReading, readdressed, readFrame, reversed, TCP, withHopLimit } from '@xoffload/core/conformance'

/** A frame that a hold rule has stored. */
interface Stored {
  readonly frame: Uint8Array
  readonly outgoing: boolean
}

interface Slot {
  rule: Rule
  packets: bigint
  bytes: bigint
  egressPackets: bigint
  lastSeen: bigint
  readonly stored: Stored[]
}

/** The most frames that a flow stores; what comes on top is dropped. */
const STORE = 1024
/** How often a packet may still be returned. */
const RETURNS = 4

/**
 * A NIC that exists in memory only: its rule table, and what it does with frames. Put your NIC's driver in its place. What the
 * methods up to {@link Card.dump} do is then done by netlink messages, ioctls or registers; what the rest does, by silicon.
 */
export class Card {
  readonly mac: MacAddress
  readonly capacity: number
  /** What has left on the wire, and what the host's stack has got. */
  readonly wire: Uint8Array[] = []
  readonly stack: Uint8Array[] = []
  readonly #table = new Map<string, Slot>()
  #owned = false

  constructor(mac: MacAddress, capacity = 20_000) {
    this.mac = mac
    this.capacity = capacity
  }

  /** Takes the card. False when it has an owner. */
  claim(): boolean {
    if (this.#owned) return false
    this.#owned = true
    return true
  }

  /** Gives the card up, on purpose or by dying. The rules stay; what held flows have stored is lost. */
  abandon(): void {
    this.#owned = false
    for (const { stored } of this.#table.values()) stored.length = 0
  }

  /** Inserts or replaces a rule, in one step. False when there is no room. */
  write(rule: Rule): boolean {
    const before = this.#table.get(rule.flow.id)
    if (before === undefined && this.#table.size >= this.capacity) return false
    const stored = before?.stored ?? []
    this.#table.set(rule.flow.id, { rule, packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n, stored })
    if (rule.action === 'steer') this.#letGo(stored, (frame) => this.#send(frame, rule.target))
    return true
  }

  /** Removes a rule. False when there was none. */
  erase(flow: string): boolean {
    const slot = this.#table.get(flow)
    this.#table.delete(flow)
    if (slot !== undefined) this.#letGo(slot.stored, (frame) => this.stack.push(frame))
    return slot !== undefined
  }

  read(flow: string): FlowCounters | undefined {
    const slot = this.#table.get(flow)
    return slot && countersOf(slot)
  }

  dump(): ListedRule[] {
    return Array.from(this.#table.values(), (slot) => ({ rule: slot.rule, counters: countersOf(slot) }))
  }

  /** A frame arrives from the wire. */
  receive(frame: Uint8Array): void {
    const reading = readFrame(frame)
    if (reading === undefined || !reading.destination.equals(this.mac)) return
    const slot = reading.tcp && this.#table.get(reading.tcp.flow.id)
    if (slot === undefined || reading.tcp === undefined) {
      this.stack.push(frame)
      return
    }
    slot.packets += 1n
    slot.bytes += BigInt(frame.length)
    slot.lastSeen = BigInt(Math.round(performance.now() * 1e6))
    if (slot.rule.action === 'hold') this.#store(slot, { frame, outgoing: false })
    else this.#steer(frame, reading.tcp, slot.rule)
  }

  /** The host's stack sends a frame. */
  transmit(frame: Uint8Array): void {
    const tcp = readFrame(frame)?.tcp
    const slot = tcp && this.#table.get(reversed(tcp.flow).id)
    if (slot === undefined || tcp === undefined) {
      this.wire.push(frame)
      return
    }
    slot.egressPackets += 1n
    if (slot.rule.action === 'steer' || slot.rule.silent === true || (tcp.flags & TCP.RST) !== 0) return
    this.#store(slot, { frame, outgoing: true })
  }

  #steer(frame: Uint8Array, tcp: NonNullable<FrameReading['tcp']>, rule: Rule & { action: 'steer' }): void {
    if (rule.ended === true && (tcp.flags & (TCP.SYN | TCP.ACK)) === TCP.SYN) {
      this.#table.delete(rule.flow.id)
      this.stack.push(frame)
    } else if (rule.returning !== true) this.#send(frame, rule.target)
    else if (tcp.hopLimit > 1) this.#send(withHopLimit(frame, Math.min(tcp.hopLimit - 1, RETURNS)), rule.target)
  }

  #send(frame: Uint8Array, target: (Rule & { action: 'steer' })['target']): void {
    if (target.mode === 'l2') this.wire.push(readdressed(frame, this.mac, target.mac))
  }

  #store({ stored }: Slot, frame: Stored): void {
    // Without an owner the flow is locked: nobody could give back what would be stored.
    if (this.#owned && stored.length < STORE) stored.push(frame)
  }

  #letGo(stored: Stored[], deliver: (frame: Uint8Array) => void): void {
    for (const { frame, outgoing } of stored.splice(0)) {
      if (outgoing) this.wire.push(frame)
      else deliver(frame)
    }
  }
}

function countersOf({ packets, bytes, egressPackets, lastSeen }: Slot): FlowCounters {
  return { packets, bytes, egressPackets, lastSeen }
}
