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
const RESET = 'reset by the peer'
let received = ''

function report(error?: string): void {
  const result: RawReport = error === undefined ? { received } : { received, error }
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
    end: () => report(),
    // Without a FIN before it was an RST, of which there is an error only if it was there when the socket was read. But when this side's
    // own FIN is out, Bun closes the socket at the other side's without calling `end`, and has an error for an RST.
    close: (_socket, error) => report(mode === 'half-close' && error === undefined ? undefined : RESET),
    error: (_socket, error: Error & { code?: string }) => report(error.code === 'ECONNRESET' ? RESET : error.message),
    connectError: (_socket, error) => report(error.message),
  },
})
