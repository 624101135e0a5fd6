import type { HeaderList, RequestHead } from '../http/index.ts'
import type { RequestBody } from './request-body.ts'

/**
 * Methods that `Request` keeps as they are. It turns an unknown one into GET, or normalises its case, and a handler must never
 * see another method than the client sent.
 */
const faithful = new Map<string, boolean>()
const MOST_METHODS = 256

/** Whether a handler can be given a request with this method. CONNECT asks for a tunnel, TRACE would echo credentials. */
export function isServable(method: string): boolean {
  if (method === 'GET') return true
  let known = faithful.get(method)
  if (known !== undefined) return known
  known = method !== 'CONNECT' && method !== 'TRACE' && new Request('http://localhost/', { method }).method === method
  // Methods come from the network: their memory is bounded.
  if (faithful.size < MOST_METHODS) faithful.set(method, known)
  return known
}

/** A `Request` that notices when its abort signal is asked for. */
export class ServedRequest extends Request {
  #signalTaken = false

  /** Whether somebody may have listeners on the signal. */
  get signalTaken(): boolean {
    return this.#signalTaken
  }

  // Request's types declare `signal` as a property, which no accessor may override in the usual way.
  static {
    const inherited = Object.getOwnPropertyDescriptor(Request.prototype, 'signal')?.get
    Object.defineProperty(ServedRequest.prototype, 'signal', {
      configurable: true,
      enumerable: true,
      get(this: ServedRequest): AbortSignal {
        this.#signalTaken = true
        return inherited?.call(this)
      },
    })
  }
}

/**
 * Targets that a URL parser leaves as they are (URL standard, "path state", "query state"): no character that it would encode or take out,
 * and no segment that begins with a dot. Others are left to it.
 */
const CANONICAL_TARGET = /^\/(?:[\w/?=&+,;:@!$*()~-]|(?<=\w)\.)*$/

/** Makes the requests of one connection. What they have in common is made once. */
export class RequestFactory {
  readonly #localOrigin: () => string
  #controller = new AbortController()
  #list: HeaderList | undefined
  #headers = new Headers()
  #origin = ''
  /** What requests without a body are made of: Bun copies a `Request` in half the time that it takes to look through an init object. */
  #template: Request | undefined
  /** The origin in the URL standard's form, of {@link #template}. */
  #canonicalOrigin = ''

  /** @param localOrigin scheme and authority of this end, for a client that names none. */
  constructor(localOrigin: () => string) {
    this.#localOrigin = localOrigin
  }

  /**
   * The request as a handler sees it.
   * @throws TypeError when the target and host make no URL.
   */
  create(head: RequestHead, body: Uint8Array | RequestBody | undefined): ServedRequest {
    const { method, target, headers } = head
    if (headers !== this.#list) this.#use(headers)
    if (body === undefined && CANONICAL_TARGET.test(target)) {
      const template = this.#templateFor(method)
      // Made of a `Request`, Bun's take the URL without parsing it.
      return new ServedRequest(this.#canonicalOrigin + target, template)
    }
    const init: RequestInit = { method, headers: this.#headers, signal: this.#controller.signal }
    if (body !== undefined) init.body = body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : body.stream
    // An absolute target names the authority itself and wins over Host (RFC 9112 3.2.2).
    const url = target.startsWith('/') ? this.#origin + target : target === '*' ? `${this.#origin}/*` : target
    return new ServedRequest(url, init)
  }

  /** The exchange of `request` is over. Its signal is used again unless somebody may still listen to it. */
  release(request: ServedRequest | undefined): void {
    if (!request?.signalTaken) return
    this.#controller = new AbortController()
    this.#template = undefined
  }

  /** Fires the signal of the request under way. */
  abort(error: Error): void {
    this.#controller.abort(error)
  }

  /** The reason of {@link abort}. */
  get abortReason(): unknown {
    return this.#controller.signal.reason
  }

  #templateFor(method: string): Request {
    if (this.#template?.method === method) return this.#template
    const template = new Request(`${this.#origin}/`, {
      method,
      headers: this.#headers,
      signal: this.#controller.signal,
    })
    this.#template = template
    this.#canonicalOrigin = template.url.slice(0, -1)
    return template
  }

  /** The parser gives the same list again when a client repeats its headers. */
  #use(list: HeaderList): void {
    this.#list = list
    this.#headers = new Headers(list.toArray())
    this.#template = undefined
    const host = list.get('host')
    this.#origin = host === undefined || host === '' ? this.#localOrigin() : `http://${host}`
  }
}
