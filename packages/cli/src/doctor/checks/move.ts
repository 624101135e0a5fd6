import { acknowledge, closeFd, closeSilently, freeze, restore, takeSnapshot, write } from '@xoffload/linux'
import { type Check, failed, ok } from '../check.ts'
import { loopbackConnection } from '../loopback.ts'

const GREETING = new TextEncoder().encode('moved')

/** Moves a connection of this process with itself, over loopback: freeze, snapshot, restore, go on. */
export const moveCheck: Check = {
  name: 'tcp-repair',
  async run() {
    await using connection = await loopbackConnection()
    freeze(connection.serviceFd)
    const snapshot = takeSnapshot(connection.serviceFd)
    await connection.closeService()
    const { fd } = restore(snapshot)
    try {
      acknowledge(fd)
      write(fd, GREETING)
      const received = await connection.received()
      if (!Buffer.from(received).equals(GREETING))
        return failed('a connection that was moved delivered other bytes: report this with the kernel version')
    } finally {
      closeQuietly(fd)
    }
    const { timestamp } = snapshot.options
    return ok(`a connection was moved${timestamp === undefined ? ', without timestamps' : ' with its timestamps'}`)
  },
}

/** Without a TIME_WAIT that holds the port for a minute. */
function closeQuietly(fd: number): void {
  try {
    closeSilently(fd)
  } catch (error) {
    closeFd(fd)
    throw error
  }
}
