import { XoffloadError } from '@xoffload/core'

/** The two ends of a TCP connection of this process with itself, over the loopback device. */
export interface LoopbackConnection extends AsyncDisposable {
  /** The accepted end, which nobody reads. */
  readonly serviceFd: number
  /** Closes the accepted end and resolves when its descriptor is closed. */
  closeService(): Promise<void>
  /** Resolves with the first bytes that the connecting end gets. Rejects when the connection ends before. */
  received(): Promise<Uint8Array>
}

/** Opens a connection over 127.0.0.1. Rejects when the loopback device is down. */
export async function loopbackConnection(): Promise<LoopbackConnection> {
  const accepted = Promise.withResolvers<Bun.Socket<undefined>>()
  const serviceClosed = Promise.withResolvers<void>()
  const received = Promise.withResolvers<Uint8Array>()
  // Who does not ask for the bytes does not care about the end either.
  received.promise.catch(() => {})
  const listener = Bun.listen<undefined>({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      open(socket) {
        socket.pause()
        accepted.resolve(socket)
      },
      data() {},
      close: () => serviceClosed.resolve(),
    },
  })
  const client = await Bun.connect<undefined>({
    hostname: '127.0.0.1',
    port: listener.port,
    socket: {
      data: (_socket, bytes) => received.resolve(bytes),
      close: () => received.reject(new XoffloadError('LOOPBACK', 'the connection over the loopback device has ended')),
    },
  }).catch((error) => {
    listener.stop(true)
    throw error
  })
  const service = await accepted.promise
  listener.stop()
  return {
    // Bun's types do not name it.
    serviceFd: (service as unknown as { readonly fd: number }).fd,
    async closeService() {
      service.terminate()
      await serviceClosed.promise
    },
    received: () => received.promise,
    async [Symbol.asyncDispose]() {
      client.terminate()
      service.terminate()
      await serviceClosed.promise
    },
  }
}
