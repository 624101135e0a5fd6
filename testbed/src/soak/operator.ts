import type { Random } from '@xoffload/core/simulation'
import { ControlApiError, callControlApi } from '../deployment/control-api.ts'

/** The longest that a flow may take to come to a request boundary, in milliseconds. */
const MOVE_TIMEOUT = 3000
/** So many flows are moved at once. */
const MOVES = 20
/** Why an order may not be carried out when all is well: connections end and move while it is on its way. */
const REFUSALS: ReadonlySet<string> = new Set(['unknown-flow', 'busy', 'no-target', 'timeout'])

/** What has been ordered. */
export interface OperatorCounts {
  moves: number
  drains: number
  rebalances: number
}

/** Drains servers, moves connections and rebalances at random, through the gateway's control API, as an operator does. */
export class Operator {
  readonly #api: string
  readonly #servers: readonly string[]
  readonly #random: Random
  readonly #orders = new Set<Promise<void>>()
  readonly counts: OperatorCounts = { moves: 0, drains: 0, rebalances: 0 }
  readonly failures: string[] = []
  #stopped = false
  #running: Promise<void> | undefined

  constructor(api: string, servers: readonly string[], random: Random) {
    this.#api = api
    this.#servers = servers
    this.#random = random
  }

  start(): void {
    this.#running = this.#run().catch((error) => void this.failures.push(`${error}`))
  }

  /** Resolves when nothing that was ordered is open and no server is drained. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    await Promise.all(this.#orders)
  }

  async #run(): Promise<void> {
    const random = this.#random
    while (!this.#stopped) {
      const kind = random.below(20)
      if (kind < 11) await this.#moveSome()
      else if (kind < 19) await this.#drain(random.pick(this.#servers), random.between(50, 400))
      else await this.#rebalance()
      await Bun.sleep(random.between(10, 80))
    }
  }

  async #moveSome(): Promise<void> {
    const { flows } = (await this.#call('GET', 'flows?state=steered')) as { flows: { flow: string; server: string }[] }
    for (let count = 0; count < Math.min(MOVES, flows.length); count++) {
      const { flow, server } = this.#random.pick(flows)
      const target = this.#random.pick(this.#servers.filter((name) => name !== server))
      this.counts.moves++
      const order = this.#call('POST', `flows/${encodeURIComponent(flow)}/move`, {
        server: target,
        timeout: MOVE_TIMEOUT,
      })
      const done = order.then(
        () => {},
        (error) => void this.failures.push(`${error}`),
      )
      this.#orders.add(done)
      void done.then(() => this.#orders.delete(done))
    }
  }

  async #drain(server: string, milliseconds: number): Promise<void> {
    this.counts.drains++
    await this.#call('POST', `servers/${server}/drain`)
    await Bun.sleep(milliseconds)
    await this.#call('DELETE', `servers/${server}/drain`)
  }

  async #rebalance(): Promise<void> {
    this.counts.rebalances++
    await this.#call('POST', 'rebalance')
  }

  async #call(method: string, path: string, body?: object): Promise<unknown> {
    try {
      return await callControlApi(this.#api, method, path, { ...(body !== undefined && { body }) })
    } catch (error) {
      if (error instanceof ControlApiError && REFUSALS.has(error.refusal)) return undefined
      throw error
    }
  }
}
