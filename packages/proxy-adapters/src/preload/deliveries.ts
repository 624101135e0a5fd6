import type { Endpoint } from '@xoffload/core'
import { closeFd, write } from '@xoffload/linux'
import { PreloadError } from './errors.ts'
import { Knock } from './knock.ts'
import type { Mailbox } from './mailbox.ts'
import { encodeKnock, type MailboxItem } from './protocol.ts'

/** How often those that are not taken at once are looked after, in milliseconds. */
const TICK = 10
/** Items that are in the mailbox at once: fewer than a usual listen backlog, and than the mailbox holds. */
const MAXIMUM_POSTED = 64

/** A connection that is to come out of the server program's accept(2). */
export interface Delivery {
  readonly item: MailboxItem
  /** Belongs to the deliveries from the call on. */
  readonly fd: number
  /** To be written before the program has the connection; overwritten when it is. */
  readonly unsent: Uint8Array
  /** The program had it before: it has its place, however many wait. */
  readonly isBack: boolean
  /** Milliseconds until it fails, when that is sooner than for others. */
  readonly timeout?: number
  /** It cannot be delivered. The descriptor is the receiver's; undefined when nobody has it any more. */
  readonly onFailed: (error: PreloadError, fd: number | undefined) => void
}

interface State extends Delivery {
  readonly deadline: number
  /** The deadline was found over. */
  overdue: boolean
  unsent: Uint8Array
  knock: Knock | undefined
  /** How often its knock was found over. */
  turns: number
  /** What became of a knock that brought nothing. */
  outcome: 'answered' | 'refused' | undefined
  /** What has kept it from being posted or knocked for. */
  obstacle: unknown
}

export interface DeliveriesOptions {
  /** Undefined when the program looks into the mailbox by itself. */
  readonly listener: Endpoint | undefined
  readonly mailbox: Mailbox
  readonly secret: Uint8Array
  /** Milliseconds until a delivery fails. */
  readonly timeout: number
  /** Most deliveries at once. */
  readonly maximum: number
}

/** Brings connections into the server program: an item into the mailbox, and a knock at the listener for each. */
export class Deliveries {
  readonly #options: DeliveriesOptions
  readonly #knock: Uint8Array
  readonly #waiting = new Map<bigint, State>()
  readonly #posted = new Map<bigint, State>()
  /** Knocks whose own item was taken with another one's: they serve for the next that lacks one. */
  readonly #spare: Knock[] = []
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(options: DeliveriesOptions) {
    this.#options = options
    this.#knock = encodeKnock(options.secret)
  }

  /** Connections that no process of the program has yet. */
  get size(): number {
    return this.#waiting.size + this.#posted.size
  }

  /** Throws {@link PreloadError} (`busy`), and then the descriptor stays the caller's. */
  add(delivery: Delivery): void {
    const { maximum, timeout } = this.#options
    if (!delivery.isBack && this.#waiting.size + this.#posted.size >= maximum) {
      throw new PreloadError('busy', `${maximum} connections wait for the server program: is it overloaded?`)
    }
    this.#waiting.set(delivery.item.connection, {
      ...delivery,
      knock: undefined,
      obstacle: undefined,
      turns: 0,
      outcome: undefined,
      overdue: false,
      deadline: performance.now() + Math.min(delivery.timeout ?? timeout, timeout),
    })
    this.#timer ??= setInterval(() => this.#tick(), TICK)
    this.#post()
  }

  /** A process of the server program has it. False when it is none of these. */
  taken(connection: bigint): boolean {
    const state = this.#posted.get(connection)
    if (state === undefined) return false
    this.#posted.delete(connection)
    if (state.knock !== undefined) this.#reuse(state.knock)
    this.#post()
    return true
  }

  /** Takes a delivery back: its descriptor is the caller's. Undefined when a process of the server program has it already. */
  withdraw(connection: bigint): number | undefined {
    const state = this.#waiting.get(connection) ?? this.#posted.get(connection)
    if (state === undefined) return undefined
    const fd = this.#waiting.delete(connection) ? state.fd : this.#options.mailbox.withdraw(connection)
    if (fd !== undefined && this.#posted.delete(connection) && state.knock !== undefined) this.#reuse(state.knock)
    return fd
  }

  /** All that nobody has taken fail. */
  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    const error = new PreloadError('closed', 'the server was closed before the program took the connection')
    for (const state of [...this.#waiting.values(), ...this.#posted.values()]) this.#fail(state, error)
    for (const knock of this.#spare.splice(0)) knock.close()
  }

  /** Puts as many as may be there into the mailbox. */
  #post(): void {
    for (const state of this.#waiting.values()) {
      if (this.#posted.size >= MAXIMUM_POSTED) return
      if (!this.#flushed(state)) continue
      if (!this.#putIn(state)) return
      this.#waiting.delete(state.item.connection)
      this.#posted.set(state.item.connection, state)
      // The mailbox has it: the connection ends when the program closes it, however long this process takes.
      closeFd(state.fd)
      this.#knockFor(state)
    }
  }

  #putIn(state: State): boolean {
    try {
      return this.#options.mailbox.post(state.item, state.fd)
    } catch (error) {
      // Such as too many descriptors on their way: later there may be fewer.
      state.obstacle = error
      return false
    }
  }

  #flushed(state: State): boolean {
    try {
      if (state.unsent.length > 0) dropUnsent(state, write(state.fd, state.unsent))
    } catch {
      // The client is gone: the program finds that out.
      dropUnsent(state, state.unsent.length)
    }
    return state.unsent.length === 0
  }

  #knockFor(state: State): void {
    const { listener } = this.#options
    if (listener === undefined) return
    try {
      state.knock = this.#spare.pop() ?? new Knock(listener, this.#knock)
    } catch (error) {
      state.knock = undefined
      state.obstacle = error
    }
  }

  /** A knock is not taken away from the listener as long as somebody may need it: which item it brought is not known. */
  #reuse(knock: Knock): void {
    if (knock.over || this.#posted.size === 0) knock.close()
    else this.#spare.push(knock)
  }

  #tick(): void {
    this.#failOverdue()
    this.#post()
    if (this.#options.listener !== undefined) this.#knockAgain()
    if (this.#posted.size === 0) for (const knock of this.#spare.splice(0)) knock.close()
    if (this.#posted.size + this.#waiting.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /**
   * It may be this process that was late, such as one that was stopped: then the program's word is there, and is not read yet. So a delivery
   * fails one turn after its deadline.
   */
  #failOverdue(): void {
    const now = performance.now()
    for (const state of [...this.#waiting.values(), ...this.#posted.values()]) {
      if (state.overdue) this.#fail(state, expired(state))
      else state.overdue = now >= state.deadline
    }
  }

  #knockAgain(): void {
    for (const state of this.#posted.values()) {
      if (state.knock?.over === false) continue
      // The program's word may be on its way: it has one more turn.
      state.turns += 1
      if (state.turns < 2) continue
      state.turns = 0
      state.outcome = outcomeOf(state.knock) ?? state.outcome
      state.knock?.close()
      this.#knockFor(state)
    }
  }

  #fail(state: State, error: PreloadError): void {
    const { connection } = state.item
    dropUnsent(state, state.unsent.length)
    const fd = this.withdraw(connection)
    // The program took it, and told nobody: it ended in between. The kernel has closed the connection.
    if (fd === undefined && this.#posted.delete(connection)) state.knock?.close()
    state.onFailed(error, fd)
  }
}

/** So many bytes are not needed any more: no copy of what a server said is left. */
function dropUnsent(state: State, length: number): void {
  state.unsent.fill(0, 0, length)
  state.unsent = state.unsent.subarray(length)
}

function outcomeOf(knock: Knock | undefined): State['outcome'] {
  if (knock?.answered) return 'answered'
  return knock?.refused ? 'refused' : undefined
}

function expired({ outcome, obstacle }: State): PreloadError {
  if (outcome === 'refused')
    return new PreloadError('no-listener', 'nobody listens where the server program should: start it')
  if (outcome === 'answered') {
    const advice =
      'start it with the environment that preloadEnvironment gives; a static binary cannot take connections'
    return new PreloadError('not-loaded', `the server program does not have the shim: ${advice}`)
  }
  const cause = obstacle === undefined ? {} : { cause: obstacle }
  return new PreloadError(
    'timeout',
    'the server program did not accept the connection in time: is it overloaded?',
    cause,
  )
}
