import { COLON, CR, FIELD_VALUE, LF, TOKEN } from './characters.ts'
import { type Refusal, refuse } from './errors.ts'

/** Reads the trailer section of a chunked body byte by byte, with the same strictness as a head (RFC 9112 7.1.2). */
export class TrailerScanner {
  readonly fields: (readonly [name: string, value: string])[] = []
  done = false
  refusal: Refusal | undefined
  readonly #limit: number
  #size = 0
  #state: 'line' | 'name' | 'value' | 'line-lf' | 'end-lf' = 'line'
  #name = ''
  #value = ''

  /** @param limit most bytes of the section. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Takes bytes from `at` on and returns where the section ended, or the length of `bytes`. */
  push(bytes: Uint8Array, at: number): number {
    let next = at
    while (next < bytes.length && !this.done && this.refusal === undefined) {
      if (++this.#size > this.#limit) this.refusal = refuse(431, 'the trailer section is larger than the limit')
      else this.#take(bytes[next++] as number)
    }
    return next
  }

  #take(byte: number): void {
    switch (this.#state) {
      case 'line':
        if (byte === CR) this.#state = 'end-lf'
        else this.#takeName(byte)
        break
      case 'name':
        if (byte === COLON) this.#state = 'value'
        else this.#takeName(byte)
        break
      case 'value':
        if (byte === CR) this.#state = 'line-lf'
        else if (FIELD_VALUE[byte] === 1) this.#value += String.fromCharCode(byte)
        else this.#refuse()
        break
      case 'line-lf':
        if (byte === LF) this.#endLine()
        else this.#refuse()
        break
      case 'end-lf':
        if (byte === LF) this.done = true
        else this.#refuse()
        break
    }
  }

  #takeName(byte: number): void {
    if (TOKEN[byte] !== 1) {
      this.#refuse()
      return
    }
    this.#state = 'name'
    this.#name += String.fromCharCode(byte)
  }

  #endLine(): void {
    this.fields.push([this.#name, this.#value.replace(/^[\t ]+|[\t ]+$/g, '')])
    this.#name = ''
    this.#value = ''
    this.#state = 'line'
  }

  #refuse(): void {
    this.refusal = refuse(400, 'a trailer line is malformed')
  }
}
