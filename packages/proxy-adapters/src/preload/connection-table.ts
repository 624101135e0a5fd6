import { closeFd } from '@xoffload/linux'
import type { ConnectionOwner, PreloadConnection } from './connection.ts'
import type { Deliveries } from './deliveries.ts'
import { PreloadError } from './errors.ts'
import type { ShimMessage } from './protocol.ts'
import type { ShimProcess } from './shim-process.ts'

/** All connections of a server by their numbers, and which process has them. */
export class ConnectionTable implements ConnectionOwner {
  readonly deliveries: Deliveries
  readonly report: (error: unknown) => void
  readonly #connections = new Map<
    bigint,
    { readonly connection: PreloadConnection; process: ShimProcess | undefined }
  >()
  readonly standing = new Set<PreloadConnection>()
  #last = 0n

  constructor(deliveries: Deliveries, report: (error: unknown) => void) {
    this.deliveries = deliveries
    this.report = report
  }

  get size(): number {
    return this.#connections.size + this.standing.size
  }

  enter(connection: PreloadConnection): bigint {
    this.#last += 1n
    this.#connections.set(this.#last, { connection, process: undefined })
    return this.#last
  }

  leave(id: bigint): void {
    this.#connections.delete(id)
  }

  /** Throws {@link PreloadError} (`protocol`) when the process speaks of a connection that another one has. */
  handle(process: ShimProcess, message: ShimMessage): void {
    const entry = this.#connections.get(message.connection)
    if (entry === undefined) {
      // A connection that is over here: the message was under way. One that is taken only now is nobody's, and no packet of its client comes.
      const { connection, value } = message
      if (message.type === 'adopted') process.order({ type: 'end', connection, value, argument: 0 })
      return
    }
    if (message.type === 'adopted' || message.type === 'lost') {
      if (!this.deliveries.taken(message.connection)) throw confused(process)
      entry.process = process
      if (message.type === 'adopted') entry.connection.adopted(process, message.value)
      else entry.connection.lost()
      return
    }
    if (entry.process !== process) throw confused(process)
    this.#about(entry.connection, process, message)
  }

  /** Nothing more is heard of the connections that the process had. */
  processGone(process: ShimProcess): void {
    // The process sent them, and ended before it could say so.
    for (const [id, returned] of process.takeAllReturned()) {
      const entry = this.#connections.get(id)
      if (entry?.process === process) entry.connection.returned(returned, entry.connection.requestsSeen)
      else if (returned.fd !== undefined) closeFd(returned.fd)
    }
    for (const { connection, process: owner } of [...this.#connections.values()])
      if (owner === process) connection.lost()
  }

  close(): void {
    for (const { connection } of [...this.#connections.values()]) connection.shutDown()
    for (const connection of [...this.standing]) connection.shutDown()
  }

  #about(connection: PreloadConnection, process: ShimProcess, message: ShimMessage): void {
    if (message.type === 'closed') {
      connection.lost()
    } else if (message.type === 'ask') {
      const verdict = connection.verdict(message)
      const { requests = 0, milliseconds = 0 } = verdict === 'suspend' ? {} : verdict
      const argument = verdict === 'suspend' ? 1 : 0
      process.tell({
        type: 'verdict',
        connection: message.connection,
        value: message.value,
        argument,
        requests,
        milliseconds,
      })
    } else if (message.type === 'returned') {
      const returned = process.takeReturned(message.connection)
      if (returned === undefined) throw confused(process)
      connection.returned(returned, message.requests)
    }
  }
}

function confused({ peer: { pid } }: ShimProcess): PreloadError {
  return new PreloadError(
    'protocol',
    `process ${pid} of the server program spoke of a connection that it does not have`,
  )
}
