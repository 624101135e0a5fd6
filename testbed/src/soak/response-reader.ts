import { checkRamp } from '../ramp/ramp.ts'

/** What a response must be: the ramp, or this text. */
export type ExpectedResponse = { readonly start: number; readonly length: number } | { readonly text: string }

/** A response that is not what was asked for. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError'
}

const HEAD_END = '\r\n\r\n'
const LONGEST_HEAD = 8192
/** The longest chunk size line or trailer. */
const LONGEST_LINE = 32

/** What is due next of a chunked body. */
type ChunkPart = 'size' | 'data' | 'data-end' | 'last'

/**
 * Checks the responses of one connection byte by byte. Written for this purpose only, so that it shares no code with what is tested. Reads
 * HTTP/1.1 with Content-Length or chunked bodies (RFC 9112).
 */
export class ResponseReader {
  readonly #expected: ExpectedResponse[] = []
  #kept: Buffer = Buffer.alloc(0)
  #body: 'none' | 'length' | 'chunked' = 'none'
  #part: ChunkPart = 'size'
  /** Bytes of the body, or of its chunk, that are still to come. */
  #left = 0
  #position = 0

  /** The servers that have answered, as their responses say. */
  readonly servers: string[] = []

  /** A request was sent. */
  expect(response: ExpectedResponse): void {
    this.#expected.push(response)
  }

  /** Responses that have not arrived completely. */
  get outstanding(): number {
    return this.#expected.length
  }

  /** What the connection waits for, in words. */
  get state(): string {
    const [next] = this.#expected
    return next === undefined ? 'idle' : `at byte ${this.#position} of ${JSON.stringify(next)}`
  }

  /** Throws {@link ResponseError} or a RampError when this is not what was asked for. */
  take(chunk: Buffer): void {
    let rest = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    for (;;) {
      const before = rest.length
      const body = this.#body
      rest = body === 'none' ? this.#takeHead(rest) : this.#takeBody(rest)
      if (rest.length === before && body === this.#body) break
    }
    this.#kept = Buffer.from(rest)
  }

  #takeHead(bytes: Buffer): Buffer {
    if (bytes.length === 0) return bytes
    const [expected] = this.#expected
    if (expected === undefined) throw new ResponseError(`bytes that answer nothing: ${quote(bytes)}`)
    const end = bytes.indexOf(HEAD_END)
    if (end < 0) {
      if (bytes.length > LONGEST_HEAD || !'HTTP/1.1 '.startsWith(bytes.toString('latin1', 0, 9)))
        throw new ResponseError(`this is no response: ${quote(bytes)}`)
      return bytes
    }
    const head = bytes.toString('latin1', 0, end)
    if (!head.startsWith('HTTP/1.1 200 ')) throw new ResponseError(`not 200: ${quote(bytes)}`)
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    this.#body = length === undefined ? 'chunked' : 'length'
    if (length === undefined && !/\r\ntransfer-encoding: *chunked/i.test(head))
      throw new ResponseError(`a response without a length: ${quote(bytes)}`)
    const whole = 'text' in expected ? expected.text.length : expected.length
    if (length !== undefined && Number(length) !== whole)
      throw new ResponseError(`a body of ${length} bytes instead of ${whole}: ${quote(bytes)}`)
    this.servers.push(/\r\nx-served-by: *(\w+)/i.exec(head)?.[1] ?? '')
    this.#part = 'size'
    this.#left = Number(length ?? 0)
    this.#position = 0
    const rest = bytes.subarray(end + HEAD_END.length)
    if (this.#body === 'length' && this.#left === 0) this.#complete()
    return rest
  }

  #takeBody(bytes: Buffer): Buffer {
    if (this.#body === 'length' || this.#part === 'data') return this.#takeContent(bytes)
    const end = bytes.indexOf('\r\n')
    if (end < 0) {
      if (bytes.length > LONGEST_LINE) throw new ResponseError(`this is no chunk: ${quote(bytes)}`)
      return bytes
    }
    const line = bytes.toString('latin1', 0, end)
    const rest = bytes.subarray(end + 2)
    if (this.#part === 'size') {
      if (!/^[0-9a-f]{1,8}$/i.test(line)) throw new ResponseError(`this is no chunk size: ${quote(bytes)}`)
      this.#left = Number.parseInt(line, 16)
      this.#part = this.#left === 0 ? 'last' : 'data'
      return rest
    }
    if (line !== '') throw new ResponseError(`this is no end of a chunk: ${quote(bytes)}`)
    if (this.#part === 'last') this.#complete()
    else this.#part = 'size'
    return rest
  }

  #takeContent(bytes: Buffer): Buffer {
    const content = bytes.subarray(0, this.#left)
    this.#check(content)
    this.#position += content.length
    this.#left -= content.length
    if (this.#left === 0) {
      if (this.#body === 'length') this.#complete()
      else this.#part = 'data-end'
    }
    return bytes.subarray(content.length)
  }

  #check(content: Buffer): void {
    const expected = this.#expected[0] as ExpectedResponse
    if ('start' in expected) {
      if (this.#position + content.length > expected.length)
        throw new ResponseError(`more than ${expected.length} bytes`)
      checkRamp(content, expected.start + this.#position)
    } else if (content.toString('latin1') !== expected.text.slice(this.#position, this.#position + content.length)) {
      throw new ResponseError(`${quote(content)} instead of ${JSON.stringify(expected.text)}`)
    }
  }

  #complete(): void {
    const expected = this.#expected.shift() as ExpectedResponse
    const whole = 'text' in expected ? expected.text.length : expected.length
    if (this.#position !== whole) throw new ResponseError(`a body of ${this.#position} bytes instead of ${whole}`)
    this.#body = 'none'
    this.#position = 0
  }
}

function quote(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1', 0, 300))
}
