/** The input that a process is at, in a file that both sides map: it is still there when the process has crashed. */
export class FuzzPosition {
  readonly #numbers: Float64Array

  /** `file` must exist with {@link FuzzPosition.byteLength} bytes. */
  constructor(file: string) {
    const bytes = Bun.mmap(file, { shared: true })
    this.#numbers = new Float64Array(bytes.buffer, bytes.byteOffset, 3)
  }

  static readonly byteLength = 24

  /** Called before each input: `target` by its place in the list of targets. */
  set(target: number, index: number): void {
    this.#numbers[0] = target
    this.#numbers[1] = index
    this.#numbers[2] = (this.#numbers[2] ?? 0) + 1
  }

  get(): { readonly target: number; readonly index: number; readonly inputs: number } {
    const [target = 0, index = 0, inputs = 0] = this.#numbers
    return { target, index, inputs }
  }
}
