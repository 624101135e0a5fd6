import { XoffloadError } from '@xoffload/core'

/** The HTTP server was used in a way that cannot work; `message` says how. */
export class HttpServerError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('HTTP_SERVER', message, options)
  }
}

/** The reason of a request's abort signal and of a request body that ends early: the client closed or reset its connection. */
export class ClientGoneError extends XoffloadError {
  constructor() {
    super('CLIENT_GONE', 'the client closed the connection before the exchange was complete')
  }
}

/** The reason of a request's abort signal and of a cancelled response body: another server sends the rest of the response. */
export class ConnectionMovedError extends XoffloadError {
  constructor() {
    super('CONNECTION_MOVED', 'the connection was moved to another server, which continues the response')
  }
}
