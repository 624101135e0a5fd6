import { readdirSync, readlinkSync } from 'node:fs'
import {
  type AbortMessage,
  encodeMessage,
  type HelloMessage,
  MacAddress,
  type OfferMessage,
  type OutgoingMessage,
  PROTOCOL_VERSION,
  type RefuseMessage,
} from '@xoffload/core'
import { type Authority, createAuthority, type IssueOptions, issueCertificate } from '../../src/certificates/index.ts'
import { type ConnectionEvents, ControlConnection } from '../../src/control/connection.ts'
import {
  ControlChannel,
  ControlConnector,
  type ControlConnectorOptions,
  type ControlCredentials,
  type ControlError,
  ControlListener,
  type ControlListenerOptions,
  type ControlMessage,
  defaultControlLimits,
} from '../../src/control/index.ts'

export const authority: Authority = await createAuthority('test-authority')

/** Credentials for `name`, signed by `signer`, trusting `trusted`. */
export async function credentials(
  name: string,
  {
    signer = authority,
    trusted = authority,
    ...options
  }: { signer?: Authority; trusted?: Authority } & Partial<IssueOptions> = {},
): Promise<ControlCredentials> {
  return { ca: trusted.certificate, ...(await issueCertificate(signer, { name, ...options })) }
}

export const gatewayCredentials = await credentials('gateway')
export const serverCredentials = await credentials('s1')

export function hello(host: string, instance = 1n): HelloMessage {
  const mac = MacAddress.parse('02:00:00:00:00:01')
  return { type: 'hello', protocolVersion: PROTOCOL_VERSION, host, mac, instance, maximumHandoffs: 64 }
}

export function abort(handoff: number): AbortMessage {
  return { type: 'abort', handoff, epoch: 1 }
}

export function refuse(handoff: number, text: string): RefuseMessage {
  return { type: 'refuse', handoff, epoch: 1, reason: 'busy', text }
}

/** An offer with `length` bytes of a ramp in place of a snapshot. */
export function offer(handoff: number, length: number): OfferMessage {
  const snapshot = new Uint8Array(length)
  for (let index = 0; index < length; index++) snapshot[index] = (index + handoff) % 251
  return { type: 'offer', handoff, epoch: 1, snapshot, application: new Uint8Array(0) }
}

/** A message to send of which another copy is still needed: a channel overwrites the snapshot of an offer. */
export function copyOf<M extends OutgoingMessage>(message: M): M {
  if (message.type !== 'offer' || !(message.snapshot instanceof Uint8Array)) return message
  return { ...message, snapshot: message.snapshot.slice() }
}

/** Collects what is put in, and wakes those who wait for so much. */
export class Inbox<T> {
  readonly items: T[] = []
  #waiting: { count: number; resolve: (items: readonly T[]) => void }[] = []

  put(item: T): void {
    this.items.push(item)
    const ready = this.#waiting.filter(({ count }) => this.items.length >= count)
    this.#waiting = this.#waiting.filter(({ count }) => this.items.length < count)
    for (const { resolve } of ready) resolve(this.items)
  }

  /** All items, as soon as there are `count`. */
  async atLeast(count: number): Promise<readonly T[]> {
    if (this.items.length >= count) return this.items
    return await new Promise((resolve) => this.#waiting.push({ count, resolve }))
  }

  /** The item of this index, as soon as it is there. */
  async at(index: number): Promise<T> {
    const item = (await this.atLeast(index + 1))[index]
    if (item === undefined) throw new Error(`there is no item ${index}`)
    return item
  }
}

/** Everything that one side of a control channel reports. */
export class Events {
  readonly ups = new Inbox<HelloMessage>()
  readonly messages = new Inbox<ControlMessage>()
  readonly downs = new Inbox<ControlError>()
  readonly failures = new Inbox<{ reason: ControlError; retryAfter: number }>()

  readonly handlers = {
    onUp: (_channel: unknown, message: HelloMessage): void => this.ups.put(message),
    onMessage: (_channel: unknown, message: ControlMessage): void => this.messages.put(message),
    onDown: (_channel: unknown, reason: ControlError): void => this.downs.put(reason),
    onRefused: (_remote: string, reason: ControlError): void => this.failures.put({ reason, retryAfter: 0 }),
    onUnavailable: (_peer: string, reason: ControlError, retryAfter: number): void =>
      this.failures.put({ reason, retryAfter }),
  }
}

export function listen(events: Events, options: Partial<ControlListenerOptions> = {}): ControlListener {
  return new ControlListener({
    listen: { address: '127.0.0.1', port: 0 },
    credentials: serverCredentials,
    peers: ['gateway'],
    hello: hello('s1'),
    ...events.handlers,
    ...options,
  })
}

export function connect(
  events: Events,
  port: number,
  options: Partial<ControlConnectorOptions> = {},
): ControlConnector {
  return new ControlConnector({
    peers: [{ name: 's1', endpoint: { address: '127.0.0.1', port } }],
    credentials: gatewayCredentials,
    hello: hello('gateway'),
    ...events.handlers,
    ...options,
  })
}

/** The channel of a listener or a connector to `host`. */
export function channelOf(
  side: ControlListener | ControlConnector,
  host: string,
): NonNullable<ReturnType<typeof side.channels.get>> {
  const channel = side.channels.get(host)
  if (channel === undefined) throw new Error(`there is no channel to ${host}`)
  return channel
}

/** The sockets that this process has open. */
export function openSockets(): number {
  let count = 0
  for (const entry of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${entry}`).startsWith('socket:')) count++
    } catch {
      // The descriptor of the listing itself is closed already.
    }
  }
  return count
}

/** One side of a control channel on a socket that is none. */
export interface Opened {
  readonly connection: ControlConnection
  /** What was written, as the socket got it. */
  readonly written: Uint8Array[]
  /** Whether nothing is read from the socket. */
  readonly paused: () => boolean
}

/** A channel to `s1` that collects its messages. */
export function collecting(messages = defaultControlLimits.messages): {
  readonly channel: ControlChannel
  readonly messages: ControlMessage[]
} {
  const received: ControlMessage[] = []
  const handlers = {
    onUp: () => {},
    onMessage: (_: unknown, message: ControlMessage) => void received.push(message),
    onDown: () => {},
  }
  return { channel: new ControlChannel('s1', handlers, messages), messages: received }
}

/** A connection of the channel, on which both sides have said hello. */
export function open(channel: ControlChannel, limits = defaultControlLimits): Opened {
  const written: Uint8Array[] = []
  let paused = false
  const events: ConnectionEvents = {
    onUp: (connection, peer) => channel.attach(connection, peer),
    onMessage: (message) => channel.receive(message),
    onThrottled: () => channel.throttled(),
    onDown: (reason) => channel.detach(reason),
    onRejected: (reason) => {
      throw reason
    },
  }
  const socket = {
    write: (bytes: Uint8Array) => written.push(bytes) && bytes.length,
    pause: () => {
      paused = true
    },
    resume: () => {
      paused = false
    },
    end: () => {},
    terminate: () => {},
  }
  const identity = { peer: 's1', remote: '', hello: hello('gateway'), allowance: channel.allowance }
  const connection = new ControlConnection(identity, socket, limits, events)
  connection.receive(encodeMessage(hello('s1')))
  return { connection, written, paused: () => paused }
}

/** A channel with a connection. */
export function opened(limits = defaultControlLimits): Opened & ReturnType<typeof collecting> {
  const collector = collecting()
  return { ...collector, ...open(collector.channel, limits) }
}
