import { XoffloadError } from '@xoffload/core'
import type { OrderRefusal } from './operations.ts'

/** An operator's order cannot be carried out. `reason` is for programs, the message says what to do. */
export class OrderError extends XoffloadError {
  readonly reason: OrderRefusal

  constructor(reason: OrderRefusal, message: string, options?: ErrorOptions) {
    super(`ORDER_${reason.toUpperCase().replaceAll('-', '_')}`, message, options)
    this.reason = reason
  }
}
