import { closeFd, resetAndClose, socketCookie } from '@xoffload/linux'
import type { AdoptedConnection, SuspendOptions } from '../bun/index.ts'
import type { Deliveries } from './deliveries.ts'
import { PreloadError } from './errors.ts'
import { Hooks } from './hooks.ts'
import type { PreloadAdoptOptions, PreloadSuspended, ServeHere } from './options.ts'
import type { ShimMessage } from './protocol.ts'
import { headIn, headOf } from './request-head.ts'
import type { Returned, ShimProcess } from './shim-process.ts'
import { TakenBack } from './taken-back.ts'

const NOTHING = new Uint8Array(0)
const OUT_OF_DESCRIPTORS = 'a connection was lost when it came back: may this process open more files (RLIMIT_NOFILE)?'

/** How long the next process of the program may take for a connection that the last one has left, in milliseconds. */
const SUCCESSION_TIMEOUT = 1000

/** What goes to the program with a connection. */
interface Parcel {
  readonly unsent: Uint8Array
  readonly received: Uint8Array
  /** About so many requests the program does not ask. */
  readonly requests: number
  readonly isBack: boolean
}

/** What a connection needs of its `PreloadServer`. */
export interface ConnectionOwner {
  readonly deliveries: Deliveries
  /** A new number for a connection, under which messages about it come. */
  enter(connection: PreloadConnection): bigint
  leave(id: bigint): void
  /** Connections that were taken back and that somebody has in hand. */
  readonly standing: Set<PreloadConnection>
  report(error: unknown): void
}

/** A connection that the server program was given. */
export class PreloadConnection implements AdoptedConnection {
  /** Resolves when the program has accepted the connection; rejects with a {@link PreloadError}, and then it was reset. */
  readonly taken: Promise<void>
  readonly #owner: ConnectionOwner
  readonly #hooks: Hooks
  readonly #cookie: bigint
  readonly #taken = Promise.withResolvers<void>()
  #id = 0n
  #process: ShimProcess | undefined
  /** The descriptor's number in that process. */
  #number = 0
  #requestsBefore = 0
  #requestsHere = 0
  #closed = false
  /** Nobody took it, and so it was offered to `onSuspended`, which gave it to the program again. */
  #refused = false
  #wish: PromiseWithResolvers<PreloadSuspended | undefined> | undefined
  #takenBack: TakenBack | undefined
  /** `route` wants it back before this request, which comes after so many. */
  #routed = NOTHING
  #routedAfter = 0

  /** Throws {@link PreloadError} (`busy`) or a LinuxError, and then the descriptor stays the caller's. */
  constructor(fd: number, owner: ConnectionOwner, options: PreloadAdoptOptions) {
    this.#owner = owner
    this.#hooks = new Hooks(options, (error) => owner.report(error))
    this.#cookie = socketCookie(fd)
    this.taken = this.#taken.promise
    // Who does not look at it hears of the end through `onClose`.
    this.taken.catch(() => {})
    this.#deliver(fd, { unsent: options.unsent ?? NOTHING, received: NOTHING, requests: 0, isBack: false })
  }

  get requests(): number {
    return this.#requestsBefore + this.#requestsHere
  }

  /** Of {@link requests} those that this process of the program has told of. */
  get requestsSeen(): number {
    return this.#requestsHere
  }

  get closed(): boolean {
    return this.#closed
  }

  /**
   * As {@link AdoptedConnection.suspend}. An idle connection comes back at once when the program waits with epoll_wait(2) of the C library, as
   * nginx and Node do; else when the program reads next.
   */
  suspend({ signal }: SuspendOptions = {}): Promise<PreloadSuspended | undefined> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#closed) return Promise.resolve(undefined)
    if (this.#takenBack !== undefined) return Promise.resolve(this.#takenBack)
    if (this.#wish === undefined) {
      this.#wish = Promise.withResolvers()
      this.#order('recall', 1)
    }
    const { promise } = this.#wish
    if (signal !== undefined) this.#watch(signal, promise)
    return promise
  }

  terminate(): void {
    if (this.#closed) return
    if (this.#takenBack !== undefined) {
      this.#takenBack.close()
      return
    }
    const fd = this.#owner.deliveries.withdraw(this.#id)
    if (fd === undefined) this.#order('end', 0)
    else this.#reset(fd, new PreloadError('closed', 'the connection was terminated'))
  }

  /** A process of the program has accepted it. */
  adopted(process: ShimProcess, number: number): void {
    this.#process = process
    this.#number = number
    this.#refused = false
    this.#taken.resolve()
    if (this.#wish !== undefined) this.#order('recall', 1)
  }

  /** The program asks about the request that is next. */
  verdict({ requests, bytes }: ShimMessage): 'suspend' | ServeHere {
    this.#requestsHere = requests
    this.#forgetRouted()
    const head = headOf(bytes)
    if (head === undefined) return {}
    const decision = this.#hooks.decide(this, head)
    if (decision === 'serve') return {}
    if (decision === 'suspend') {
      this.#routed = bytes.slice()
      this.#routedAfter = requests
    }
    return decision
  }

  /** The program has given it back. */
  returned({ fd, received }: Returned, requests: number): void {
    this.#leaveProcess()
    this.#requestsHere = requests
    if (fd === undefined) {
      this.#owner.report(new PreloadError('refused', OUT_OF_DESCRIPTORS))
      this.lost()
      return
    }
    if (socketCookie(fd) !== this.#cookie) {
      closeFd(fd)
      this.#owner.report(new PreloadError('protocol', 'a process gave another connection back than it was given'))
      this.lost()
      return
    }
    // A verdict that came too late: that request was served here.
    if (this.#routedAfter !== requests) this.#forgetRouted()
    const routed = this.#routed
    this.#routed = NOTHING
    if (routed.length === 0 && this.#wish === undefined) {
      // The wish has been given up meanwhile, or a process of the program ends and another one goes on.
      this.#resume(fd, { received, requests: 0 })
      return
    }
    this.#stand(fd, received, routed)
  }

  /** Nothing more will be heard of it. */
  lost(): void {
    if (this.#closed) return
    this.#closed = true
    this.#leaveProcess()
    this.#forgetRouted()
    this.#taken.reject(new PreloadError('refused', 'the server program did not take the connection'))
    this.#wish?.resolve(undefined)
    this.#wish = undefined
    this.#hooks.closed()
  }

  /** The server is closed: a connection that stands is reset. */
  shutDown(): void {
    this.#takenBack?.lose()
    this.lost()
  }

  #deliver(fd: number, { unsent, requests, received, isBack }: Parcel): void {
    this.#id = this.#owner.enter(this)
    try {
      this.#owner.deliveries.add({
        item: { connection: this.#id, watch: this.#hooks.asks, requests, received },
        fd,
        unsent,
        isBack,
        ...(isBack && this.#isOffered && { timeout: SUCCESSION_TIMEOUT }),
        onFailed: (error, fd) => this.#undelivered(error, fd, { received, isBack }),
      })
    } catch (error) {
      this.#owner.leave(this.#id)
      throw error
    }
  }

  /** Whether somebody else may have it when the program does not take it back. Once: then the program has had its time. */
  get #isOffered(): boolean {
    return this.#wish !== undefined || (this.#hooks.takes && !this.#refused)
  }

  /** A program that ends closes idle connections in order, and so does this side with those that it gave back for a successor. */
  #undelivered(error: PreloadError, fd: number | undefined, parcel: Pick<Parcel, 'received' | 'isBack'>): void {
    if (fd === undefined) this.#failed(error)
    else if (!parcel.isBack) this.#reset(fd, error)
    else if (error.reason !== 'closed' && this.#isOffered) {
      this.#leaveProcess()
      this.#refused = true
      this.#stand(fd, parcel.received, undefined)
    } else {
      closeFd(fd)
      this.#failed(error)
    }
  }

  #reset(fd: number, error: PreloadError): void {
    resetAndClose(fd)
    this.#failed(error)
  }

  #failed(error: PreloadError): void {
    this.#taken.reject(error)
    this.lost()
  }

  /** `routed`: the request before which `route` wanted it; undefined when no process of the program takes it. */
  #stand(fd: number, received: Uint8Array, routed: Uint8Array | undefined): void {
    const isRouted = routed !== undefined && routed.length > 0
    const next = isRouted ? routed : headIn(received)
    const takenBack = new TakenBack(
      { fd, received, next, head: headOf(next), requests: this.requests },
      {
        // The request that was asked about is not asked about again.
        resume: (received) => this.#resume(fd, { received, requests: isRouted ? 1 : 0 }),
        close: () => this.#relinquish(fd),
        leave: () => this.#left(),
      },
    )
    this.#takenBack = takenBack
    this.#owner.standing.add(this)
    const wish = this.#wish
    this.#wish = undefined
    wish?.resolve(takenBack)
    if (isRouted || (routed === undefined && wish === undefined)) this.#hooks.stopped(takenBack)
  }

  #resume(fd: number, { received, requests }: Pick<Parcel, 'received' | 'requests'>): void {
    this.#goesOn()
    this.#requestsBefore += this.#requestsHere
    this.#requestsHere = 0
    try {
      this.#deliver(fd, { unsent: NOTHING, received, requests, isBack: true })
    } catch (error) {
      this.#owner.report(error)
      resetAndClose(fd)
      this.lost()
    }
  }

  #relinquish(fd: number): void {
    resetAndClose(fd)
    this.#left()
  }

  #left(): void {
    this.#goesOn()
    this.lost()
  }

  #goesOn(): void {
    this.#takenBack = undefined
    this.#owner.standing.delete(this)
  }

  /** What a client said is not kept. */
  #forgetRouted(): void {
    this.#routed.fill(0)
    this.#routed = NOTHING
  }

  #leaveProcess(): void {
    this.#owner.leave(this.#id)
    this.#process?.forget(this.#id)
    this.#process = undefined
  }

  #order(type: 'recall' | 'end', argument: number): void {
    this.#process?.order({ type, connection: this.#id, value: this.#number, argument })
  }

  #watch(signal: AbortSignal, promise: Promise<unknown>): void {
    const cancel = () => {
      const wish = this.#wish
      if (wish?.promise !== promise) return
      this.#wish = undefined
      this.#order('recall', 0)
      wish.reject(signal.reason)
    }
    const ignore = () => signal.removeEventListener('abort', cancel)
    signal.addEventListener('abort', cancel)
    promise.then(ignore, ignore)
  }
}
