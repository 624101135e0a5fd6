// The other process of unix-socket.test.ts: bun unix-peer.ts PATH TASK
import { readdirSync, readlinkSync } from 'node:fs'
import { connectUnix, LinuxError, UnixListener } from '../src/index.ts'

const [path = '', task = ''] = process.argv.slice(2)

/** How many descriptors of this file there are. */
function open(file: string): number {
  const isOpen = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === file
    } catch {
      // The descriptor that the folder was read with.
      return false
    }
  }
  return readdirSync('/proc/self/fd').filter(isOpen).length
}

const tasks: Record<string, () => Promise<void>> = {
  /** Opens a TCP listener, gives it away and ends. */
  async 'give a listener'() {
    const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    using connection = connectUnix(path)
    const { fd } = listener as unknown as { readonly fd: number }
    await connection.send(new TextEncoder().encode(String(listener.port)), [fd])
    // The other side has it when it answers.
    await connection.receive()
  },
  /** Listens until it is killed. */
  async listen() {
    const listener = UnixListener.open(path)
    process.stdout.write('listening\n')
    await listener.accept()
  },
  /** Receives one message, and says what happened and how often it has the file open. */
  async receive() {
    using connection = connectUnix(path)
    await connection.send(Uint8Array.of(1))
    const outcome = await connection.receive().then(
      (message) => `${message?.fds.length} descriptors`,
      (error: unknown) => (error instanceof LinuxError ? error.errno : String(error)),
    )
    process.stdout.write(`${outcome}, ${open(`${path}.file`)} open\n`)
  },
}

await tasks[task]?.()
process.exit(0)
