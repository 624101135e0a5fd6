import { socketCookie, TcpDestroyListener } from '@xoffload/linux'
import { type Check, failed, ok } from '../check.ts'
import { loopbackConnection } from '../loopback.ts'

/** How long the kernel may take to announce the end of a connection, in milliseconds. Usual are less than 50. */
const ANNOUNCEMENT_TIMEOUT = 2000
const POLL_INTERVAL = 5

/** A server learns from the kernel that a connection has ended: closes one and waits for the announcement (sock_diag(7)). */
export const announcementsCheck: Check = {
  name: 'sock-diag',
  async run() {
    const listener = TcpDestroyListener.open()
    try {
      await using connection = await loopbackConnection()
      const cookie = socketCookie(connection.serviceFd)
      await connection.closeService()
      const deadline = performance.now() + ANNOUNCEMENT_TIMEOUT
      while (performance.now() < deadline) {
        const { cookies, overflow } = listener.poll()
        if (cookies.includes(cookie)) return ok('the kernel announces the ends of connections')
        // A busy host: the one that matters may be among the lost, and others did arrive.
        if (overflow) return ok('the kernel announces the ends of connections, more than this process reads')
        await Bun.sleep(POLL_INTERVAL)
      }
      return failed(
        'the kernel does not announce the end of connections: it needs CONFIG_INET_DIAG (modprobe tcp_diag)',
      )
    } finally {
      listener.close()
    }
  },
}
