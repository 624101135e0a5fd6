import type { RequestHead } from '../http/index.ts'
import type { PreloadConnection } from './connection.ts'
import type { PreloadAdoptOptions, PreloadSuspended, ServeHere } from './options.ts'

/** The callbacks that came with a connection. What one of them throws is reported, and the connection goes on. */
export class Hooks {
  readonly #options: PreloadAdoptOptions
  readonly #report: (error: unknown) => void

  constructor(options: PreloadAdoptOptions, report: (error: unknown) => void) {
    this.#options = options
    this.#report = report
  }

  get asks(): boolean {
    return this.#options.route !== undefined
  }

  get takes(): boolean {
    return this.#options.onSuspended !== undefined
  }

  decide(connection: PreloadConnection, head: RequestHead): 'serve' | 'suspend' | ServeHere {
    try {
      return this.#options.route?.(connection, head) ?? 'serve'
    } catch (error) {
      this.#report(error)
      return 'serve'
    }
  }

  stopped(suspended: PreloadSuspended): void {
    try {
      if (this.#options.onSuspended === undefined) suspended.resume()
      else this.#options.onSuspended(suspended)
    } catch (error) {
      this.#report(error)
      suspended.resume()
    }
  }

  closed(): void {
    try {
      this.#options.onClose?.()
    } catch (error) {
      this.#report(error)
    }
  }
}
