/**
 * Many clients that send bytes as they are, each on a connection of its own, a program of its own.
 *
 *     bun exchange-client.ts ADDRESS PORT RESULTS < JSON
 *
 * Reads an array with the texts of each connection, in base64. Sends the first one, each further one when something has been received since
 * the one before, and reads until the connection is closed. Writes to the file RESULTS an array of {@link Exchanged} as JSON, in the same
 * order.
 */
export interface Exchanged {
  /** Latin-1. */
  readonly received: string
  /** `FIN`, `RST`, or why there was neither. */
  readonly end: string
}

/** Connections at once. */
const CONCURRENCY = 48
/** Milliseconds for one connection. */
const PATIENCE = 30_000

const [address = '', port = '', results = ''] = process.argv.slice(2)
const connections: readonly (readonly string[])[] = await Bun.stdin.json()

async function exchange(texts: readonly string[]): Promise<Exchanged> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const timer = setTimeout(() => resolve('no end'), PATIENCE)
  let received = ''
  let sent = 0
  const send = (socket: Bun.Socket): void => {
    const text = texts[sent++]
    if (text === undefined) return
    const bytes = Buffer.from(text, 'base64')
    if (socket.write(bytes) < bytes.length) resolve('not sent in one piece')
  }
  const connecting = Bun.connect({
    hostname: address,
    port: Number(port),
    allowHalfOpen: true,
    socket: {
      open: send,
      data: (socket, chunk) => {
        received += chunk.toString('latin1')
        send(socket)
      },
      end: () => resolve('FIN'),
      close: () => resolve('RST'),
      error: (_socket, error: Error & { code?: string }) =>
        resolve(error.code === 'ECONNRESET' ? 'RST' : error.message),
    },
  })
  connecting.catch((error: Error) => resolve(error.message))
  const end = await promise
  clearTimeout(timer)
  connecting.then((socket) => socket.terminate()).catch(() => undefined)
  return { received, end }
}

const exchanged: Exchanged[] = []
let next = 0
async function exchangeAll(): Promise<void> {
  for (let index = next++; index < connections.length; index = next++)
    exchanged[index] = await exchange(connections[index] ?? [])
}
await Promise.all(Array.from({ length: CONCURRENCY }, exchangeAll))
await Bun.write(results, JSON.stringify(exchanged))
process.exit()
