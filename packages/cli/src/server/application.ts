import { pathToFileURL } from 'node:url'
import { XoffloadError } from '@xoffload/core'
import type { ResumeHandler } from '@xoffload/proxy-adapters/bun'
import type { BelongsHere } from './served-connections.ts'

/** What an application module gives: it answers requests, and it may go on with responses that another server has begun. */
export interface LoadedApplication {
  readonly fetch: FetchHandler
  readonly resume?: ResumeHandler
}

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
 * as an Elysia app); and `resume`, when it exports one. Throws {@link ApplicationError} when it cannot be imported or exports no such
 * thing.
 */
export async function loadApplication(path: string): Promise<LoadedApplication> {
  const { default: application, resume } = await importModule(path)
  const fetch = fetchOf(application)
  if (fetch === undefined) {
    throw new ApplicationError(`application module ${path} must export default a fetch handler or an object with one`)
  }
  if (resume === undefined) return { fetch }
  if (typeof resume === 'function') return { fetch, resume: resume as ResumeHandler }
  throw new ApplicationError(
    `application module ${path} exports "resume": it must be a function (state, offset) => body`,
  )
}

/** Imports the module that says which requests are answered here. Throws {@link ApplicationError}. */
export async function loadBelongsHere(path: string): Promise<BelongsHere> {
  const { default: belongsHere } = await importModule(path)
  if (typeof belongsHere === 'function') return belongsHere as BelongsHere
  throw new ApplicationError(`module ${path} must export default a function (request, requests) => boolean`)
}

async function importModule(path: string): Promise<{ readonly default?: unknown; readonly resume?: unknown }> {
  try {
    return await import(pathToFileURL(path).href)
  } catch (cause) {
    throw new ApplicationError(`application module ${path} cannot be imported: ${cause}`, { cause })
  }
}

function fetchOf(application: unknown): FetchHandler | undefined {
  if (typeof application === 'function') return application as FetchHandler
  if (typeof application !== 'object' || application === null || !('fetch' in application)) return undefined
  const { fetch } = application
  return typeof fetch === 'function' ? (request) => fetch.call(application, request) : undefined
}
