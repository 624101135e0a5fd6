/**
 * A client that sends bytes as they are, a program of its own.
 *
 *     bun raw-client.ts ADDRESS PORT read|reset|half-close BASE64
 *
 * `read` sends and reads until the connection is closed, `half-close` sends a FIN behind the bytes and reads on, `reset` sends,
 * waits for SIGTERM, and sends an RST. Prints one JSON line: what it received, and how the connection ended.
 */
export interface RawReport {
  readonly received: string
  readonly error?: string
}

const [address = '', port = '', mode = '', payload = ''] = process.argv.slice(2)
let received = ''

function report(error?: Error): void {
  const result: RawReport = error === undefined ? { received } : { received, error: error.message }
  console.log(JSON.stringify(result))
  process.exit()
}

await Bun.connect({
  hostname: address,
  port: Number(port),
  allowHalfOpen: true,
  socket: {
    open(socket) {
      socket.write(Buffer.from(payload, 'base64'))
      if (mode === 'half-close') socket.shutdown()
      if (mode === 'reset') {
        process.once('SIGTERM', () => {
          socket.terminate()
          report()
        })
      }
    },
    data(_socket, chunk) {
      received += chunk.toString('latin1')
    },
    end(socket) {
      socket.end()
      report()
    },
    close: (_socket, error) => report(error ?? undefined),
    error: (_socket, error) => report(error),
    connectError: (_socket, error) => report(error),
  },
})
