import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type Arrival, FlowKey } from '@xoffload/core'

/** Lines that say nothing any more are dropped when there are so many more than others. */
const SPARE_LINES = 10_000
/** Only the user of the process may read and write it. */
const MODE = 0o600

/** A line: who writes; a connection that has come; or with nothing but its cookie, one that is not to be known any more. */
interface Line {
  readonly instance?: string
  readonly cookie?: string
  /** The bytes of the flow's key in hexadecimal. */
  readonly flow?: string
  readonly host?: string
  readonly handoff?: number
  readonly epoch?: number
}

/**
 * Which connections were handed to this host, in a file: a server program has them, and goes on with them while the process that told it
 * is down. The next one finds here what to tell the gateways. Each line is in the file when the call returns.
 */
export class ArrivalJournal {
  /** An earlier process has not come to its end, or has left connections. */
  readonly continues: boolean
  /** What the first process and those that continue its work say of themselves (`HelloMessage.instance`). */
  readonly instance: bigint
  readonly #path: string
  readonly #onError: (error: unknown) => void
  readonly #arrivals: Map<bigint, Arrival>
  #fd = -1
  #lines = 0

  private constructor(path: string, onError: (error: unknown) => void) {
    this.#path = path
    this.#onError = onError
    const text = textOf(path)
    this.continues = text !== undefined
    const { instance, arrivals } = read(text ?? '')
    this.instance = instance ?? crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n
    this.#arrivals = arrivals
  }

  /**
   * Throws the file system's error. A line that makes no sense is left out: its writer died, or the file is somebody else's. `onError`: a
   * later line could not be written, as when there is no room; nothing else fails because of that.
   */
  static open(path: string, onError: (error: unknown) => void): ArrivalJournal {
    const journal = new ArrivalJournal(path, onError)
    journal.#compact()
    return journal
  }

  /** By the cookies of their sockets (SO_COOKIE). */
  get arrivals(): ReadonlyMap<bigint, Arrival> {
    return this.#arrivals
  }

  add(cookie: bigint, arrival: Arrival): void {
    this.#arrivals.set(cookie, arrival)
    this.#write(lineOf(cookie, arrival))
  }

  remove(cookie: bigint): void {
    if (!this.#arrivals.delete(cookie)) return
    this.#write({ cookie: `${cookie}` })
    if (this.#lines > 2 * this.#arrivals.size + SPARE_LINES) this.#attempt(() => this.#compact())
  }

  /** Leaves the file when there are connections in it. Safe to call twice. */
  close(): void {
    if (this.#fd < 0) return
    closeSync(this.#fd)
    this.#fd = -1
    if (this.#arrivals.size === 0) rmSync(this.#path, { force: true })
  }

  #write(line: Line): void {
    if (this.#fd < 0) return
    this.#attempt(() => writeFileSync(this.#fd, `${JSON.stringify(line)}\n`))
    this.#lines += 1
  }

  #attempt(change: () => void): void {
    try {
      change()
    } catch (error) {
      this.#onError(error)
    }
  }

  /** Writes another file in its place, so that there is a whole one at any time. */
  #compact(): void {
    const next = `${this.#path}.next`
    const fd = openSync(next, 'w', MODE)
    try {
      const lines: Line[] = [...this.#arrivals].map(([cookie, arrival]) => lineOf(cookie, arrival))
      lines.unshift({ instance: `${this.instance}` })
      writeFileSync(fd, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
      renameSync(next, this.#path)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = fd
    this.#lines = this.#arrivals.size
  }
}

function lineOf(cookie: bigint, { flow, host, handoff, epoch }: Arrival): Line {
  return { cookie: `${cookie}`, flow: flow.bytes.toHex(), host, handoff, epoch }
}

function read(text: string): { readonly instance: bigint | undefined; readonly arrivals: Map<bigint, Arrival> } {
  const arrivals = new Map<bigint, Arrival>()
  let instance: bigint | undefined
  for (const line of text.split('\n')) {
    try {
      const { instance: writer, cookie, flow, host, handoff, epoch }: Line = JSON.parse(line)
      if (writer !== undefined) instance = BigInt.asUintN(64, BigInt(writer))
      if (cookie === undefined) continue
      const key = BigInt(cookie)
      if (flow === undefined) arrivals.delete(key)
      else if (typeof host === 'string' && isNumber(handoff) && isNumber(epoch))
        arrivals.set(key, { flow: FlowKey.from(Uint8Array.fromHex(flow)), host, handoff, epoch })
    } catch {
      // Half a line: its connection is looked for in vain by its gateway, and given up.
    }
  }
  return { instance, arrivals }
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
