import { XoffloadError } from '@xoffload/core'

/** The longest line, in bytes. */
const LONGEST_LINE = 64 * 1024

/** Cuts a stream of bytes into lines of text. */
export class LineReader {
  readonly #onLine: (line: string) => void
  readonly #decoder = new TextDecoder()
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** Throws {@link XoffloadError} `LINE` for a line that is too long, and what the listener throws. */
  push(chunk: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > LONGEST_LINE) throw new XoffloadError('LINE', 'a line is too long')
    for (const line of lines) this.#onLine(line)
  }
}
