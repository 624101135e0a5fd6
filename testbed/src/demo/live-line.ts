/** One line on a terminal's stderr that is written again and again. Does nothing where stderr is no terminal. */
export class LiveLine {
  readonly #terminal = process.stderr.isTTY === true

  /** Replaces the line. */
  show(text: string): void {
    if (!this.#terminal) return
    const width = process.stderr.columns ?? 80
    process.stderr.write(`\r${text.slice(0, width - 1)}\x1b[K`)
  }

  /** Removes the line, so that something else can be written. */
  clear(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[K')
  }
}
