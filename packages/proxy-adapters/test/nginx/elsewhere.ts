import { freeze, LinuxError, restore, takeSnapshot, thaw } from '@xoffload/linux'
import { HttpServer } from '@xoffload/proxy-adapters/bun'
import type { NginxArrival, NginxVerdict } from '@xoffload/proxy-adapters/nginx'
import { afterTest, eventually } from './support.ts'

/** Another server, which says that it is another one, and takes connections as a handoff moves them. */
export class Elsewhere {
  readonly #server = new HttpServer({
    fetch: async (request) => {
      const { pathname } = new URL(request.url)
      return new Response(
        `elsewhere ${request.method} ${pathname} ${request.headers.get('x-test')} ${await request.text()}`,
      )
    },
  })
  readonly #moves: Promise<void>[] = []

  /** Resolves when all connections that were taken are here. */
  async arrived(): Promise<void> {
    await Promise.all(this.#moves)
  }

  constructor() {
    afterTest(async () => {
      await this.arrived()
      await this.#server.stop(true)
    })
  }

  /**
   * Freezes the connection, and restores it when nginx has closed its descriptor: here the target is the same host, which can have only one
   * socket of the flow. The client must not say anything meanwhile.
   */
  take(arrival: NginxArrival): NginxVerdict {
    freeze(arrival.fd)
    const snapshot = takeSnapshot(arrival.fd, { putBack: arrival.received })
    const move = async () => {
      arrival.close()
      await eventually(() => {
        try {
          const { fd } = restore(snapshot)
          this.#server.adopt(fd)
          return true
        } catch (error) {
          if (error instanceof LinuxError && /^EADDR/.test(error.errno)) return false
          throw error
        }
      }, 'the restored connection')
    }
    this.#moves.push(new Promise((resolve) => setImmediate(resolve)).then(move))
    return { result: 'handed-off' }
  }

  /** As a handoff that is rolled back after the freeze. */
  rollBack(arrival: NginxArrival): NginxVerdict {
    freeze(arrival.fd)
    takeSnapshot(arrival.fd, { putBack: arrival.received })
    thaw(arrival.fd)
    return { result: 'refused', reason: 'rolled back' }
  }
}
