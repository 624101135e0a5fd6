import { formatEndpoint } from '@xoffload/core'
import { ports } from '../deployment/configuration.ts'
import { callControlApi } from '../deployment/control-api.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'
import type { Violation } from './client.ts'
import type { History } from './history.ts'
import type { Installation } from './installation.ts'

/** A client connection that was not as it should be. */
export interface Failure extends Violation {
  /** What the logs say of it. */
  readonly history: readonly string[]
  /** What the gateway knows of it, and its sockets on every host, as `ss` shows them. */
  readonly state: readonly string[]
}

/** Follows the clients' reports, and finds out about each violation what can be known. Bounded: the first ones tell enough. */
export class Failures {
  readonly #installation: Installation
  readonly #history: History
  readonly #limit: number
  readonly #examinations: Promise<Failure>[] = []

  constructor(clients: HostProcess, installation: Installation, history: History, limit: number) {
    this.#installation = installation
    this.#history = history
    this.#limit = limit
    clients.stdout.onLine((line) => {
      if (line.startsWith('{"violation"') && !this.full) this.#examinations.push(this.#examine(JSON.parse(line)))
    })
  }

  get full(): boolean {
    return this.#examinations.length >= this.#limit
  }

  all(): Promise<Failure[]> {
    return Promise.all(this.#examinations)
  }

  async #examine(violation: Violation): Promise<Failure> {
    const state: string[] = []
    try {
      state.push(...(await this.#sockets(violation)), await this.#flow(violation))
    } catch (error) {
      state.push(`${error}`)
    }
    // The lines of the logs have come meanwhile.
    return { ...violation, state, history: this.#history.of(violation.client) }
  }

  async #sockets({ client }: Violation): Promise<string[]> {
    const port = /\d+$/.exec(client)?.[0]
    if (port === undefined) return []
    const sockets: string[] = []
    for (const host of this.#installation.testbed.hosts) {
      const filter = `sport = :${port} or dport = :${port}`
      const { stdout } = await host.run([tool('ss'), '-tnHieao', filter], { allowFailure: true })
      if (stdout !== '') sockets.push(`${host.name}: ${stdout.trim().replaceAll(/\s+/g, ' ')}`)
    }
    return sockets
  }

  async #flow({ client }: Violation): Promise<string> {
    const { testbed, api } = this.#installation
    const address = testbed.service?.[client.startsWith('[') ? 'ipv6' : 'ipv4'] ?? ''
    const flow = `${client}-${formatEndpoint({ address, port: ports.service })}`
    return `gateway: ${JSON.stringify(await callControlApi(api, 'GET', `flows/${encodeURIComponent(flow)}`))}`
  }
}
