import type { ControlChannel } from './channel.ts'
import { checkCredentials } from './credentials.ts'
import { Dialer } from './dialer.ts'
import { ControlError } from './errors.ts'
import { controlLimits } from './limits.ts'
import type { ControlConnectorOptions } from './options.ts'

/** Keeps one control channel to each of its peers, and connects again whenever one is lost. */
export class ControlConnector {
  readonly #dialers: readonly Dialer[]
  readonly #channels: ReadonlyMap<string, ControlChannel>

  /** Begins to connect. Throws {@link ControlError} `config` for two peers of one name and for credentials that cannot be used. */
  constructor(options: ControlConnectorOptions) {
    const limits = controlLimits(options.limits)
    checkCredentials(options.credentials, options.hello.host)
    this.#dialers = options.peers.map((peer) => new Dialer(peer, limits, options))
    this.#channels = new Map(this.#dialers.map(({ channel }) => [channel.host, channel]))
    if (this.#channels.size < this.#dialers.length) throw new ControlError('config', 'two peers have the same name')
    for (const dialer of this.#dialers) dialer.start()
  }

  /** The channels of all peers by name, connected or not. */
  get channels(): ReadonlyMap<string, ControlChannel> {
    return this.#channels
  }

  /** Closes every channel and connects no more. Safe to call twice. */
  close(): void {
    for (const dialer of this.#dialers) dialer.close()
  }
}
