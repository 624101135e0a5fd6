import { XoffloadError } from '@xoffload/core'

/** The control API cannot be served. */
export class ApiError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('API', message, options)
  }
}
