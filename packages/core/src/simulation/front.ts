import type { ServedConnection } from './application.ts'
import type { SimulatedFlow } from './flow.ts'
import type { SimulatedGateway } from './gateway.ts'
import { onClose } from './server.ts'
import type { World } from './world.ts'

/** Until it has noticed that the gateway's process is gone, in microseconds at most. */
const NOTICE = 2000

/**
 * A program in front of the gateway's process, as nginx can be: it has accepted the clients' connections, and gives them to the process for
 * handoffs only. When that process dies, what is frozen ends without a word, as the last that a target may have; with everything else
 * the front goes on, a connection included that the process has just thawed.
 */
export class Front {
  readonly served = new Map<SimulatedFlow, ServedConnection>()
  /** The process of the moment. */
  gateway: SimulatedGateway | undefined
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** A client has connected. */
  accept(served: ServedConnection): void {
    const { flow, socket } = served
    socket.shared = true
    this.served.set(flow, served)
    onClose(socket, () => {
      if (this.served.get(flow) === served) this.served.delete(flow)
      const { gateway } = this
      gateway?.process.enter(() => gateway.coordinator.clientGone(flow.key))
    })
    served.run()
  }

  /** The gateway's process has died, and what was frozen has been closed. */
  gatewayDied(): void {
    this.gateway = undefined
    for (const [flow, served] of this.served) {
      if (!served.paused) continue
      this.#world.queue.after(this.#world.random.below(NOTICE), () => {
        if (this.served.get(flow) !== served || served.socket.closed) return
        this.#world.note(() => `front: goes on with ${flow}`)
        served.resume()
      })
    }
  }
}
