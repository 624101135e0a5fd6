import type { MacAddress } from '../mac.ts'
import type { Redirector, Rule } from '../redirector.ts'

/** What the suite asks of a new redirector. A factory that cannot give it ignores it. */
export interface RedirectorRequest {
  /** The number of flows that it is to have room for. */
  readonly capacity?: number
}

/** A device for one test, with nothing on it, and ways to look at it from outside. */
export interface DeviceUnderTest {
  /**
   * A redirector of the device, not open. Called again for the device's next owner: the earlier one is then closed, released,
   * crashed, or still there and must be respected.
   */
  redirector(request?: RedirectorRequest): Redirector | Promise<Redirector>
  /** Opens the device in another process, puts the rules, and kills the process: the redirector gets no chance to tidy up. */
  crash?(rules: readonly Rule[]): Promise<void>
  /** The real packets. Without it only the rule table is tested. */
  readonly network?: NetworkUnderTest
  /** Frees the device, whatever is still on it. */
  dispose?(): void | Promise<void>
}

/** One IP address of each family that there is. */
export type Addresses = { readonly [family in 4 | 6]?: string }

/**
 * The segment of the redirector's device: Ethernet frames in, Ethernet frames out, from the destination address on and without a
 * checksum of the frame. Two hosts are played by the suite: the client, and the target of steering.
 */
export interface NetworkUnderTest {
  /** The MAC address of the redirector's device. */
  readonly device: MacAddress
  readonly client: MacAddress
  /** Any that are routed to the client; it need not answer. */
  readonly clientAddresses: Addresses
  /** On this host's loopback: packets to it that are not steered reach its stack. */
  readonly serviceAddresses: Addresses
  readonly target: MacAddress
  /** Where the target takes tunnelled packets. Needed for the steer modes `vxlan` and `ipip`. */
  readonly tunnelAddresses?: Addresses
  /** The client sends a frame, which arrives at the device. */
  send(frame: Uint8Array): void | Promise<void>
  /** Sends a frame out of the device the way this host's stack does (on Linux: with a packet socket). One that is dropped is no error. */
  emit(frame: Uint8Array): void | Promise<void>
  /** Frames that arrived at a host since the last call, in order. There may be others among them (neighbour discovery). */
  received(host: 'client' | 'target'): readonly Uint8Array[] | Promise<readonly Uint8Array[]>
  /** How many TCP segments and IP fragments this host's stack has taken in (on Linux: /proc/net/snmp). */
  stackPackets(): number | Promise<number>
  /**
   * The client sends the frame again and again, from another process or thread, until the function that this resolves to is called;
   * that resolves when the last one was sent. Without it the suite takes turns with the redirector.
   */
  flood?(frame: Uint8Array): Promise<() => Promise<void>>
}
