import { pathToFileURL } from 'node:url'
import { XoffloadError } from '@xoffload/core'

/** What answers requests: the `fetch` handler of `Bun.serve`, of Elysia, Hono and others. */
export type FetchHandler = (request: Request) => Response | Promise<Response>

/** The module named in the configuration is no application. */
export class ApplicationError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('APPLICATION', message, options)
  }
}

/**
 * Imports a module and takes its application: the default export, either a function, or an object with a `fetch` function (such
 * as an Elysia app). Throws {@link ApplicationError} when it cannot be imported or exports no such thing.
 */
export async function loadApplication(path: string): Promise<FetchHandler> {
  let module: { default?: unknown }
  try {
    module = await import(pathToFileURL(path).href)
  } catch (cause) {
    throw new ApplicationError(`application module ${path} cannot be imported: ${cause}`, { cause })
  }
  const application = module.default
  if (typeof application === 'function') return application as FetchHandler
  if (typeof application === 'object' && application !== null && 'fetch' in application) {
    const { fetch } = application
    if (typeof fetch === 'function') return (request) => fetch.call(application, request)
  }
  throw new ApplicationError(`application module ${path} must export default a fetch handler or an object with one`)
}
