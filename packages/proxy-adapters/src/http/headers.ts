/**
 * The header fields of one head, in the order of arrival. Names and values are cut out of their section only when somebody asks:
 * most requests are routed by their target alone.
 */
export class HeaderList implements Iterable<readonly [name: string, value: string]> {
  readonly #section: string
  /** Four offsets into the section for each field: start and end of the name, start and end of the value. */
  readonly #offsets: readonly number[]

  /** @param section the header section as Latin-1 text. @param offsets four offsets for each field: name start, name end, value start, value end. */
  constructor(section: string, offsets: readonly number[]) {
    this.#section = section
    this.#offsets = offsets
  }

  /** The number of fields; a repeated name counts every time. */
  get count(): number {
    return this.#offsets.length >> 2
  }

  /** The name of the field at `index` as it was sent, `undefined` when there is none. */
  nameAt(index: number): string | undefined {
    return this.#cut(index * 4)
  }

  /** The value of the field at `index` as Latin-1 text without the white space around it, `undefined` when there is none. */
  valueAt(index: number): string | undefined {
    return this.#cut(index * 4 + 2)
  }

  /** The first value of the field, `undefined` when it was not sent. @param name the name in lower case. */
  get(name: string): string | undefined {
    for (let index = 0; index < this.count; index++) if (this.#is(index, name)) return this.valueAt(index)
    return undefined
  }

  /** Every value of the field in the order of arrival. @param name the name in lower case. */
  getAll(name: string): string[] {
    const values: string[] = []
    for (let index = 0; index < this.count; index++) if (this.#is(index, name)) values.push(this.valueAt(index) ?? '')
    return values
  }

  /** Whether the field was sent. @param name the name in lower case. */
  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  /** Name (as it was sent) and value of every field, repeated ones included. */
  toArray(): [name: string, value: string][] {
    const section = this.#section
    const offsets = this.#offsets
    const fields: [string, string][] = []
    for (let at = 0; at < offsets.length; at += 4) {
      fields.push([section.slice(offsets[at], offsets[at + 1]), section.slice(offsets[at + 2], offsets[at + 3])])
    }
    return fields
  }

  [Symbol.iterator](): Iterator<readonly [name: string, value: string]> {
    return this.toArray()[Symbol.iterator]()
  }

  #is(index: number, name: string): boolean {
    const at = index * 4
    const start = this.#offsets[at] ?? 0
    const end = this.#offsets[at + 1] ?? 0
    return end - start === name.length && this.#section.slice(start, end).toLowerCase() === name
  }

  #cut(at: number): string | undefined {
    const start = this.#offsets[at]
    return start === undefined ? undefined : this.#section.slice(start, this.#offsets[at + 1])
  }
}
