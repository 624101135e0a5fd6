import type { Message } from '@xoffload/core'

/** Of a message that makes its receiver freeze or restore a connection, or select a server. */
const WORK = 5
/** Bytes of a request, and connections in a report, that are as much work to read as a small message. */
const REQUEST_BYTES = 1024
const REPORTED_CONNECTIONS = 8

/** What a message counts as in `ControlLimits.messages`: about as much as it makes its receiver do. */
export function costOf(message: Message): number {
  switch (message.type) {
    case 'offer':
    case 'take':
    case 'recall':
      return WORK
    case 'yield':
      return WORK + message.request.length / REQUEST_BYTES
    case 'report':
      return 1 + message.connections.length / REPORTED_CONNECTIONS
    default:
      return 1
  }
}
