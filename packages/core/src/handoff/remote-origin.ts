import type { Channel, OriginConnection, YieldedConnection } from '../ports.ts'
import type { HandoffReference, ToOriginMessage } from '../protocol/messages.ts'
import type { SteerRule } from '../redirector.ts'

/** Sends a decision, which must reach the other host however often the channel breaks, as soon as the channel has returned. */
export type Owed = (channel: Channel, message: ToOriginMessage) => void

/** The frozen socket of a handoff whose origin is a server: what is done to it is done by messages. */
export class RemoteOrigin implements Pick<OriginConnection, 'thaw' | 'release' | 'reset'> {
  readonly channel: Channel
  /** The rule that brings the client's packets back to the server. */
  readonly rule: SteerRule
  readonly #connection: YieldedConnection
  readonly #handoff: HandoffReference
  readonly #owe: Owed

  constructor(connection: YieldedConnection, handoff: HandoffReference, owe: Owed) {
    this.channel = connection.channel
    this.rule = {
      action: 'steer',
      flow: connection.flow,
      target: connection.steer,
      handoff: connection.connection,
    }
    this.#connection = connection
    this.#handoff = handoff
    this.#owe = owe
  }

  /** Asks for the connection. Throws when the channel does not take the message. */
  take(): void {
    const { flow, connection } = this.#connection
    this.channel.send({ type: 'take', ...this.#handoff, flow, connection })
  }

  thaw(): void {
    this.#decide({ type: 'abort', ...this.#handoff })
  }

  release(): void {
    this.#decide({ type: 'release', ...this.#handoff })
  }

  reset(): void {
    this.#decide({ type: 'reset', ...this.#handoff })
  }

  #decide(message: ToOriginMessage): void {
    sendOrOwe(this.channel, message, this.#owe)
  }
}

/** Sends a decision now, or lets it be owed. */
export function sendOrOwe(channel: Channel, message: ToOriginMessage, owe: Owed): void {
  try {
    if (channel.connected) channel.send(message)
    else owe(channel, message)
  } catch {
    // Not lost: it goes out when the channel has room, or has returned.
    owe(channel, message)
  }
}
