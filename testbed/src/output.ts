/** How much of a program's output is kept, in characters. */
const keptCharacters = 64 * 1024
/** A line that is longer is cut here. */
const maxLine = 16 * 1024

/** The end of what a program wrote to one stream, and its lines as they come. Bounded: old output is forgotten. */
export class Output {
  #tail = ''
  #partial = ''
  readonly #listeners = new Set<(line: string) => void>()
  /** Resolves when the program has closed the stream. */
  readonly ended: Promise<void>

  constructor(stream: ReadableStream<Uint8Array>) {
    this.ended = this.#read(stream)
  }

  /** The last 64 Ki characters. */
  get text(): string {
    return this.#tail
  }

  /** The complete lines of {@link text}, the oldest first; the first one may lack its beginning. */
  get lines(): string[] {
    const lines = this.#tail.split('\n')
    if (this.#partial !== '' || lines.at(-1) === '') lines.pop()
    return lines
  }

  /** Calls `listener` with every line from now on, without its end. Returns what stops that. */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    for await (const chunk of stream) this.#take(decoder.decode(chunk, { stream: true }))
    if (this.#partial !== '') this.#tell(this.#partial)
    this.#partial = ''
  }

  #take(text: string): void {
    this.#tail = (this.#tail + text).slice(-keptCharacters)
    const lines = (this.#partial + text).split('\n')
    this.#partial = (lines.pop() ?? '').slice(0, maxLine)
    for (const line of lines) this.#tell(line)
  }

  #tell(line: string): void {
    for (const listener of this.#listeners) listener(line)
  }
}
