import { type AnyElysia, Elysia } from 'elysia'
import type { GatewayOperations } from '../gateway/operations.ts'
import type { ApiContext } from './context.ts'
import { createMetrics } from './metrics.ts'
import { problemOf, RequestError } from './problem.ts'
import { eventRoutes } from './routes/events.ts'
import { flowRoutes } from './routes/flows.ts'
import { handoffRoutes } from './routes/handoffs.ts'
import { metricRoutes } from './routes/metrics.ts'
import { OPENAPI_PATHS, openApiRoutes } from './routes/openapi.ts'
import { ruleRoutes } from './routes/rules.ts'
import { serverRoutes } from './routes/servers.ts'
import { Streams } from './streams.ts'
import { tokenCheck } from './token.ts'

/** Who may call the API, for how long, and who is told of errors. */
export interface CreateApiOptions {
  /** What callers must show. Default: everybody who can reach the API may use it. */
  readonly token?: string
  /** Ends event streams, gives up orders that wait, and stops watching the gateway. Default: never. */
  readonly signal?: AbortSignal
  /** Takes errors that nobody foresaw; the caller sees only that there was one. Default: they are written to standard error. */
  readonly onError?: (error: unknown) => void
}

/**
 * The control API of a gateway. Pure: it listens nowhere, `handle` answers a `Request`. What it serves is in its own OpenAPI document, at
 * `/openapi.json`, and to be read at `/openapi`.
 */
export function createApi(operations: GatewayOperations, options: CreateApiOptions = {}): AnyElysia {
  const onError = options.onError ?? console.error
  const signal = options.signal ?? new AbortController().signal
  const context: ApiContext = { operations, signal, streams: new Streams(onError) }
  const metrics = createMetrics(operations)
  signal.addEventListener('abort', operations.watch(metrics.observe), { once: true })
  const routes = new Elysia({ normalize: false })
    .use(serverRoutes(context))
    .use(flowRoutes(context))
    .use(ruleRoutes(context))
    .use(handoffRoutes(context))
    .use(eventRoutes(context))
    .use(metricRoutes(metrics))
  const isAllowed = options.token === undefined ? () => true : tokenCheck(options.token)
  return new Elysia({
    name: 'xoffload-api',
    normalize: false,
    // Else Elysia takes a host's name of fewer than four letters for a part of the path.
    handler: { standardHostname: false },
  })
    .onRequest(({ request }) => {
      const isPublic = OPENAPI_PATHS.includes(new URL(request.url).pathname)
      if (isPublic || isAllowed(request.headers.get('authorization'))) return
      return problemResponse(new RequestError(401, 'unauthorized', 'the token is missing or wrong'))
    })
    .onError({ as: 'global' }, ({ error }) => {
      if (problemOf(error).unforeseen) onError(error)
      return problemResponse(error)
    })
    .use(openApiRoutes(routes, { withToken: options.token !== undefined }))
    .use(routes)
}

/** An error as an answer. */
function problemResponse(error: unknown): Response {
  const { status, code, message } = problemOf(error)
  const headers = status === 401 ? { 'www-authenticate': 'Bearer' } : undefined
  return Response.json({ error: { code, message } }, { status, ...(headers && { headers }) })
}
