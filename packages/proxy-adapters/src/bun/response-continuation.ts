import { HeaderList, type RequestHead } from '../http/index.ts'
import { HttpServerError } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import type { InterruptedResponse } from './interrupted-response.ts'
import type { ConnectionInfo } from './options.ts'
import type { Output } from './output.ts'
import type { RequestFactory } from './request.ts'
import type { ResponderOwner } from './responder.ts'
import type { ResumedBody } from './resumable.ts'
import { type BodyReader, sendStream } from './stream-sender.ts'
import { Transfer } from './transfer.ts'

/** Stands for a request that another server received: nothing of it is needed once the response's head is sent. */
const RECEIVED_ELSEWHERE: RequestHead = {
  kind: 'head',
  method: 'GET',
  target: '*',
  version: '1.1',
  headers: new HeaderList('', []),
  headLength: 0,
  bodyFraming: { kind: 'none' },
  keepAlive: true,
  expectContinue: false,
}

/** An exchange that began on another server. */
export function continuedExchange(requests: RequestFactory): Exchange {
  const exchange = new Exchange(RECEIVED_ELSEWHERE, requests)
  exchange.responding = true
  return exchange
}

/** Sends the rest of a response that another server began, or resets the connection: there is no other way to say that it failed. */
export async function continueResponse(
  exchange: Exchange,
  { state, offset, framing, keepAlive }: InterruptedResponse,
  { host, output, owner, info }: { host: ConnectionHost; output: Output; owner: ResponderOwner; info: ConnectionInfo },
): Promise<void> {
  try {
    const body = await host.resume?.(state, offset, info)
    if (body === undefined) throw new HttpServerError('no `resume` handler continues the response of another server')
    const reader = streamOf(body).getReader() as BodyReader
    if (exchange.abandoned) return void reader.cancel().catch(() => {})
    exchange.reader = reader
    const onProgress = () => owner.progressed(exchange)
    exchange.transfer = new Transfer({ framing, keepAlive, state, offset, onProgress })
    if (await sendStream(output, '', reader, reader.read(), exchange.transfer)) owner.finished(exchange, keepAlive)
  } catch (error) {
    // An abandoned body mostly fails with the reason why it was abandoned.
    if (exchange.abandoned) return
    exchange.reader?.cancel(error).catch(() => {})
    host.report(error, undefined)
    owner.broken()
  }
}

function streamOf(body: ResumedBody): ReadableStream<unknown> {
  if (body instanceof ReadableStream) return body
  if (body instanceof Blob) return body.stream()
  return new ReadableStream({
    start(controller) {
      controller.enqueue(body)
      controller.close()
    },
  })
}
