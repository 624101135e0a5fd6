import { encodeSnapshot } from '../codec/snapshot.ts'
import type { Channel } from '../ports.ts'
import type { HandoffReference, Message, OutgoingMessage } from '../protocol/messages.ts'
import { SimulatedFailure, type SimulatedProcess } from './process.ts'
import type { World } from './world.ts'

/** What a process does with what comes by its end. */
export interface LinkUser {
  readonly process: SimulatedProcess
  /** The peer's process has said hello: `instance` is another number for another process. */
  onUp(channel: LinkEnd, instance: number): void
  onDown(channel: LinkEnd): void
  onMessage(channel: LinkEnd, message: Message): void
}

/** One end of a control link, as one process has it: the same object however often the connection breaks. */
export class LinkEnd implements Channel {
  readonly host: string
  connected = false
  /** Which of the link's connections it is that this end knows of. */
  connection = 0
  readonly user: LinkUser
  readonly instance: number
  readonly #link: ControlLink

  constructor(link: ControlLink, host: string, user: LinkUser, instance: number) {
    this.#link = link
    this.host = host
    this.user = user
    this.instance = instance
  }

  send(message: OutgoingMessage): void {
    if (!this.connected) throw new SimulatedFailure(`no control channel to ${this.host}`)
    this.user.process.step(`send ${message.type}`, () => this.#link.carry(this, message))
  }
}

type Side = 'gateway' | 'server'

/** The control channel between the gateway and one server: ordered, but it breaks, and what is on its way is lost then. */
export class ControlLink {
  readonly #world: World
  readonly #names: Record<Side, string>
  readonly #ends: Record<Side, LinkEnd | undefined> = { gateway: undefined, server: undefined }
  /** Counts connections; what was sent on another one does not arrive. */
  #connection = 0
  #connecting = false
  #instances = 0
  /** When the network between the two works again. */
  #broken = 0
  readonly #last: Record<string, number> = {}

  constructor(world: World, gateway: string, server: string) {
    this.#world = world
    this.#names = { gateway, server }
  }

  /** A process takes one side. The other side hears of it. */
  attach(side: Side, user: LinkUser): void {
    this.#instances += 1
    this.#ends[side] = new LinkEnd(this, this.#names[side === 'gateway' ? 'server' : 'gateway'], user, this.#instances)
    this.#connect()
  }

  /** The process at this side is gone. */
  detach(side: Side): void {
    this.#ends[side] = undefined
    this.#disconnect()
  }

  /** The network breaks, for so many milliseconds. */
  break(milliseconds: number): void {
    const { queue } = this.#world
    this.#world.note(() => `the control channel to ${this.#names.server} breaks for ${milliseconds} ms`)
    this.#broken = Math.max(this.#broken, queue.now + milliseconds * 1000)
    this.#disconnect()
    queue.after(this.#broken - queue.now, () => this.#connect())
  }

  carry(from: LinkEnd, message: OutgoingMessage): void {
    const to = from === this.#ends.gateway ? 'server' : 'gateway'
    const { queue, random } = this.#world
    const arriving = asArrives(message)
    if (to === 'server' && (arriving.type === 'offer' || arriving.type === 'take')) this.#checkReference(from, arriving)
    const { connection } = from
    this.#world.note(() => `${from.user.process.kernel.name} to ${from.host}: ${describe(arriving)}`)
    const arrival = Math.max(queue.now + random.between(30, 1500), this.#last[to] ?? 0)
    this.#last[to] = arrival
    queue.after(arrival - queue.now, () => {
      const end = this.#ends[to]
      if (connection !== this.#connection || end?.connection !== connection || !end.connected) return
      end.user.process.enter(() => end.user.onMessage(end, arriving))
    })
  }

  /** No other process of the gateway has used this reference. */
  #checkReference(from: LinkEnd, { handoff, epoch }: HandoffReference): void {
    const { references } = this.#world
    const key = `${epoch}/${handoff}`
    const { process } = from.user
    if ((references.get(key) ?? process) !== process) this.#world.violate(8, `handoff ${key} is begun twice`)
    references.set(key, process)
  }

  /** Each end notices at its own time. */
  #disconnect(): void {
    this.#connection += 1
    const { queue, random } = this.#world
    for (const end of [this.#ends.gateway, this.#ends.server]) {
      if (!end?.connected) continue
      const { connection } = end
      queue.after(random.between(100, 20_000), () => {
        if (!end.connected || end.connection !== connection) return
        end.connected = false
        end.user.process.enter(() => end.user.onDown(end))
        this.#connect()
      })
    }
  }

  #connect(): void {
    if (this.#connecting) return
    this.#connecting = true
    const { queue, random } = this.#world
    queue.after(random.between(200, 5000), () => {
      this.#connecting = false
      const { gateway, server } = this.#ends
      if (!gateway || !server || gateway.connected || server.connected || queue.now < this.#broken) return
      this.#connection += 1
      for (const end of [server, gateway]) {
        end.connected = true
        end.connection = this.#connection
      }
      server.user.process.enter(() => server.user.onUp(server, gateway.instance))
      gateway.user.process.enter(() => gateway.user.onUp(gateway, server.instance))
    })
  }
}

/** A snapshot is encoded on its way. */
function asArrives(message: OutgoingMessage): Message {
  if (message.type !== 'offer' || message.snapshot instanceof Uint8Array) return message as Message
  return { ...message, snapshot: encodeSnapshot(message.snapshot) }
}

function describe(message: Message): string {
  if (!('handoff' in message)) return message.type
  const text = message.type === 'refuse' ? ` (${message.reason}: ${message.text})` : ''
  return `${message.type} ${message.epoch}/${message.handoff}${text}`
}
