/**
 * A client of many short connections, a program of its own: opens a connection, sends one request, reads the answer, closes, and
 * begins again, with a fixed number of connections at once. Prints one JSON line.
 *
 *     bun connect-client.ts ADDRESS PORT CONNECTIONS CONCURRENCY
 */

/** What the client saw. */
export interface ConnectReport {
  readonly completed: number
  readonly failures: readonly string[]
  readonly seconds: number
}

const [address = '', port = '', total = '', concurrency = ''] = process.argv.slice(2)
const request = `GET /bytes/100 HTTP/1.1\r\nHost: ${address}\r\n\r\n`
const bodyLength = 100
const failures: string[] = []
let opened = 0
let completed = 0
let startedAt = 0

function open(): void {
  opened++
  let received = ''
  let over = false
  const finish = (failure?: string): void => {
    if (over) return
    over = true
    if (failure === undefined) completed++
    else failures.push(failure)
    if (opened < Number(total)) open()
    else if (completed + failures.length === Number(total)) report()
  }
  Bun.connect({
    hostname: address,
    port: Number(port),
    socket: {
      open: (socket) => void socket.write(request),
      data(socket, chunk) {
        received += chunk.toString('latin1')
        const head = received.indexOf('\r\n\r\n')
        if (head < 0 || received.length < head + 4 + bodyLength) return
        finish(received.startsWith('HTTP/1.1 200') ? undefined : received.slice(0, 80))
        socket.end()
      },
      close: () => finish('closed before the answer was complete'),
      error: (_socket, error) => finish(String(error)),
      connectError: (_socket, error) => finish(String(error)),
    },
  }).catch((error) => finish(String(error)))
}

function report(): void {
  const seconds = (performance.now() - startedAt) / 1000
  const result: ConnectReport = { completed, failures: failures.slice(0, 10), seconds }
  console.log(JSON.stringify(result))
  process.exit()
}

startedAt = performance.now()
for (let index = 0; index < Math.min(Number(concurrency), Number(total)); index++) open()
