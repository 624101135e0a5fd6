import { RedirectorError } from '@xoffload/core'
import {
  type Acknowledgement,
  decodeAcknowledgement,
  decodeFlower,
  dumpFlower,
  type FlowerTable,
  type ListedFlower,
  type NetlinkMessage,
  netlinkMessages,
  RTM_NEWTFILTER,
  requestLength,
  type TcRequest,
  writeRequest,
} from '@xoffload/linux'
import type { DumpPurpose, FlowerConnection } from './kernel.ts'
import { type Answer, RequestPipeline } from './pipeline.ts'
import { type ListedBody, reconcile } from './reconcile.ts'
import { asRedirectorError, refusal } from './refusal.ts'

const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_DUMP_INTR = 0x10
/** A dump has a socket of its own, one at a time. */
const DUMP_SEQUENCE = 1
/** An inconsistent dump is repeated this often. */
const DUMP_ATTEMPTS = 4
/** The thread has work while answers are read. */
const EXCHANGES = 2
const MAXIMUM_WAITING = 8192
/** A datagram of requests keeps the thread busy for about as long as this, so that an urgent one does not wait long behind others. */
const EXCHANGE_MICROSECONDS = 10_000
const MAXIMUM_PER_EXCHANGE = 64

/** The filters of one device: requests with their answers, and dumps. */
export class DeviceFilters {
  readonly connection: FlowerConnection
  readonly #pipeline: RequestPipeline

  /** `microseconds`: the expected time of a request. */
  constructor(connection: FlowerConnection, microseconds: number) {
    this.connection = connection
    this.#pipeline = new RequestPipeline({
      connection,
      requestsPerExchange: Math.max(
        1,
        Math.min(MAXIMUM_PER_EXCHANGE, Math.floor(EXCHANGE_MICROSECONDS / microseconds)),
      ),
      exchanges: EXCHANGES,
      maximumWaiting: MAXIMUM_WAITING,
      reconcile: (lost) => reconcile(lost, (table) => this.read(table)),
    })
  }

  /** How often answers of the kernel were lost and looked up. */
  get losses(): number {
    return this.#pipeline.losses
  }

  /**
   * Resolves to the answer of a request that was carried out, or refused with one of `allowed`. Rejects with {@link
   * RedirectorError}.
   */
  async request(
    doing: string,
    request: TcRequest,
    { allowed = [], signal }: { readonly allowed?: readonly string[]; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Answer> {
    let answer: Answer
    try {
      answer = await this.#pipeline.request(request, signal)
    } catch (error) {
      throw asRedirectorError(doing, error)
    }
    if (answer.errno === undefined || allowed.includes(answer.errno)) return answer
    throw refusal(doing, answer.errno, answer.text)
  }

  /** What a dump tells, in the kernel's order. Rejects with {@link RedirectorError}. */
  async *dump(
    doing: string,
    request: TcRequest,
    purpose: DumpPurpose = 'look',
  ): AsyncGenerator<ListedBody & { readonly consistent: boolean }, void, undefined> {
    const message = new Uint8Array(requestLength(request))
    writeRequest(message, 0, request, DUMP_SEQUENCE, false)
    try {
      for await (const datagram of this.connection.dump(message, purpose)) yield* filtersOf(datagram, doing)
    } catch (error) {
      throw asRedirectorError(doing, error)
    }
  }

  /** All filters of a table by their handles, read while it did not change. Rejects with {@link RedirectorError}. */
  async read(table: FlowerTable): Promise<ReadonlyMap<number, ListedBody>> {
    const what = `the filters of priority ${table.priority}`
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const found = new Map<number, ListedBody>()
      let consistent = true
      for await (const listed of this.dump(`reading ${what}`, dumpFlower(table))) {
        consistent &&= listed.consistent
        // 0 is the table itself.
        if (listed.filter.place.handle !== 0) found.set(listed.filter.place.handle, listed)
      }
      if (consistent) return found
    }
    throw new RedirectorError('busy', `${what} change while they are read: try again`)
  }

  /** Rejects what was not sent yet with `error`, and resolves when the rest is answered. */
  withdraw(error: RedirectorError): Promise<void> {
    return this.#pipeline.withdraw(error)
  }
}

function* filtersOf(datagram: Uint8Array, doing: string) {
  for (const message of netlinkMessages(datagram)) {
    // Both begin with an errno; the end of a dump may carry one too.
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) throwIfRefused(message, doing)
    if (message.type !== RTM_NEWTFILTER) continue
    const filter: ListedFlower = decodeFlower(message.body)
    yield { filter, body: message.body, consistent: (message.flags & NLM_F_DUMP_INTR) === 0 }
  }
}

function throwIfRefused(message: NetlinkMessage, doing: string): void {
  const { errno, text } = decodeAcknowledgement({ ...message, type: NLMSG_ERROR }) as Acknowledgement
  if (errno !== undefined) throw refusal(doing, errno, text)
}
