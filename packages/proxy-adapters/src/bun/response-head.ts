import { STATUS_CODES } from 'node:http'

/** How the end of a response is marked (RFC 9112 6.3). `none` is for statuses that never have a body. */
export type ResponseFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly contentLength: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' }

/** A text that may stand in a status line: `Response` does not check its `statusText`. */
const REASON_PHRASE = /^[\t\x20-\x7e\x80-\xff]+$/

/** The parts of a response head that are the same for a second. */
export class HeadPrefix {
  date = ''
  ok = ''

  constructor() {
    this.refresh()
  }

  /** Called once a second while connections are open. */
  refresh(): void {
    this.date = `Date: ${new Date().toUTCString()}\r\n`
    this.ok = `HTTP/1.1 200 OK\r\n${this.date}`
  }
}

/** What the head says besides the handler's own status and headers. */
export interface HeadContext {
  readonly prefix: HeadPrefix
  readonly framing: ResponseFraming
  readonly keepAlive: boolean
  /** Whether the request was HTTP/1.0, in which keeping a connection must be said. */
  readonly sayKeepAlive: boolean
}

/** The lines of a handler's headers. */
export interface FieldLines {
  readonly text: string
  /** Whether a Date is among them. */
  readonly dated: boolean
}

const NO_LINES: FieldLines = { text: '', dated: false }

/**
 * The handler's headers without those that are the server's business, whatever the handler says: framing and connection.
 * @param headers `undefined` when it set none. @param contentType what is said when the handler gave no content type.
 */
export function fieldLines(headers: Headers | undefined, contentType: string | undefined): FieldLines {
  if (headers === undefined && contentType === undefined) return NO_LINES
  let text = ''
  let typed = contentType === undefined
  let dated = false
  headers?.forEach((value, name) => {
    if (isServersOwn(name)) return
    if (name === 'date') dated = true
    else if (name === 'content-type') typed = true
    text += `${name}: ${value}\r\n`
  })
  if (!typed) text += `Content-Type: ${contentType}\r\n`
  return { text, dated }
}

/** The whole response head as Latin-1 text. */
export function responseHead(response: Response, lines: FieldLines, context: HeadContext): string {
  const { prefix, framing } = context
  let fields = lines.text
  if (framing.kind === 'length') fields += `Content-Length: ${framing.contentLength}\r\n`
  else if (framing.kind === 'chunked') fields += 'Transfer-Encoding: chunked\r\n'
  if (!context.keepAlive) fields += 'Connection: close\r\n'
  else if (context.sayKeepAlive) fields += 'Connection: keep-alive\r\n'
  return `${start(response, prefix, lines.dated)}${fields}\r\n`
}

function start(response: Response, prefix: HeadPrefix, dated: boolean): string {
  const { status, statusText } = response
  if (status === 200 && statusText === '' && !dated) return prefix.ok
  const reason = REASON_PHRASE.test(statusText) ? statusText : (STATUS_CODES[status] ?? '')
  return `HTTP/1.1 ${status} ${reason}\r\n${dated ? '' : prefix.date}`
}

function isServersOwn(name: string): boolean {
  switch (name.length) {
    case 10:
      return name === 'connection' || name === 'keep-alive'
    case 14:
      return name === 'content-length'
    case 17:
      return name === 'transfer-encoding'
    default:
      return false
  }
}

/** A complete response of the server's own, after which it closes the connection. */
export function closingResponse(prefix: HeadPrefix, status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${prefix.date}Content-Length: 0\r\nConnection: close\r\n\r\n`
}
