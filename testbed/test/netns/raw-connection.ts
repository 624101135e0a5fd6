import { inNetworkNamespace } from '@xoffload/linux'
import type { Host } from '@xoffload/testbed'

/** A client's connection that the test's own process drives: no program has to start while a server is stopped, which soon counts as dead. */
export interface RawConnection {
  send(bytes: string): void
  /** Sends an RST. */
  reset(): void
  /** All that has come, when the connection is over. */
  readonly received: Promise<string>
}

/** Connects from the host, in whose network namespace this process need not be. */
export async function connectRaw(host: Host, hostname: string, port: number): Promise<RawConnection> {
  const { promise: received, resolve } = Promise.withResolvers<string>()
  let text = ''
  const socket = await inNetworkNamespace(host.namespacePath, () =>
    Bun.connect({
      hostname,
      port,
      socket: {
        data: (_socket, chunk) => {
          text += chunk.toString('latin1')
        },
        end: (ended) => void ended.end(),
        close: () => resolve(text),
        error: () => resolve(text),
      },
    }),
  )
  return { send: (bytes) => void socket.write(bytes), reset: () => socket.terminate(), received }
}
