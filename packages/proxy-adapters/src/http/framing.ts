import { type Refusal, refuse } from './errors.ts'
import type { HttpVersion } from './request-line.ts'
import { isHost } from './target.ts'

/** How the end of a request's body is found (RFC 9112 6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly contentLength: number }
  | { readonly kind: 'chunked' }

const NONE: BodyFraming = { kind: 'none' }
const CHUNKED: BodyFraming = { kind: 'chunked' }
/** 15 digits stay below 2^53. */
const CONTENT_LENGTH = /^[0-9]{1,15}$/

/** What the header fields of one request say about the end of its body and of its connection (RFC 9112 6 and 9). */
export class Framing {
  bodyFraming: BodyFraming = NONE
  expectContinue = false
  readonly #version: HttpVersion
  #close = false
  #keepAlive = false
  #hosts = 0
  #lengths = 0
  #codings = 0
  #refusal: Refusal | undefined

  constructor(version: HttpVersion) {
    this.#version = version
  }

  /** Whether the connection stays open: `close` wins over everything, HTTP/1.0 needs `keep-alive` (RFC 9112 9.3). */
  get keepAlive(): boolean {
    return !this.#close && (this.#version === '1.1' || this.#keepAlive)
  }

  /** Whether a field name of this length can be one of those that matter: a comparison that spares cutting out most names. */
  static concerns(nameLength: number): boolean {
    return nameLength === 4 || nameLength === 6 || nameLength === 10 || nameLength === 14 || nameLength === 17
  }

  /** Takes one field. @param name in lower case. */
  see(name: string, value: string): void {
    switch (name) {
      case 'host':
        this.#hosts++
        if (!isHost(value)) this.#refuse(400, 'the Host header is not a host with an optional port')
        break
      case 'connection':
        this.#connection(value.toLowerCase())
        break
      case 'expect':
        if (value.toLowerCase() !== '100-continue')
          this.#refuse(417, 'the only expectation that is known is 100-continue')
        else this.expectContinue = this.#version === '1.1'
        break
      case 'content-length':
        this.#lengths++
        if (!CONTENT_LENGTH.test(value)) this.#refuse(400, 'the Content-Length is not a number of at most 15 digits')
        else this.bodyFraming = { kind: 'length', contentLength: Number(value) }
        break
      case 'transfer-encoding':
        this.#codings++
        if (value.toLowerCase() !== 'chunked') this.#refuse(501, 'the only transfer coding that is known is chunked')
        break
    }
  }

  /** Settles the framing; a refusal when the fields contradict each other. */
  finish(): Refusal | undefined {
    if (this.#hosts > 1) this.#refuse(400, 'the Host header is repeated')
    if (this.#hosts === 0 && this.#version === '1.1') this.#refuse(400, 'HTTP/1.1 needs a Host header')
    if (this.#lengths > 1) this.#refuse(400, 'the Content-Length is repeated')
    if (this.#codings > 1) this.#refuse(400, 'the Transfer-Encoding is repeated')
    if (this.#codings > 0) {
      if (this.#lengths > 0) this.#refuse(400, 'Content-Length and Transfer-Encoding stand in one head')
      if (this.#version === '1.0') this.#refuse(400, 'HTTP/1.0 has no Transfer-Encoding')
      this.bodyFraming = CHUNKED
    }
    return this.#refusal
  }

  #connection(value: string): void {
    for (const option of value.split(',')) {
      const token = option.trim()
      if (token === 'close') this.#close = true
      else if (token === 'keep-alive') this.#keepAlive = true
    }
  }

  #refuse(status: Refusal['status'], reason: string): void {
    this.#refusal ??= refuse(status, reason)
  }
}
