import { toOpenAPISchema } from '@elysiajs/openapi/openapi'
import type { AnyElysia } from 'elysia'

/** The part of an OpenAPI document (version 3.1) that its page shows. */
export interface OpenApiDocument {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly security: readonly Record<string, readonly string[]>[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, unknown>>
    readonly securitySchemes: Readonly<Record<string, unknown>>
  }
}

/** An operation of an {@link OpenApiDocument}, as far as its page shows it. */
export interface OpenApiOperation {
  readonly summary?: string
  readonly description?: string
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly schema: unknown
  }[]
  readonly requestBody?: { readonly content: OpenApiContent }
  readonly responses?: Readonly<Record<string, { readonly description?: string; readonly content?: OpenApiContent }>>
  readonly security?: readonly Record<string, readonly string[]>[]
}

type OpenApiContent = Readonly<Record<string, { readonly schema: unknown }>>

const info = {
  title: 'xoffload gateway',
  version: '1',
  description:
    'The control API of an xoffload gateway: its servers, client connections, rules and handoffs, and orders.',
}

/** The description of an application's routes. */
export function openApiDocument(app: AnyElysia, { withToken }: { withToken: boolean }): OpenApiDocument {
  const { paths, components } = toOpenAPISchema(app)
  const refused = { 401: { description: 'The token is missing or wrong.', content: errorContent } }
  const document = {
    openapi: '3.1.1',
    info,
    security: withToken ? [{ token: [] }] : [],
    paths: withToken ? withResponses(paths as OpenApiDocument['paths'], refused) : paths,
    components: {
      schemas: components.schemas,
      securitySchemes: withToken ? { token: { type: 'http', scheme: 'bearer' } } : {},
    },
  }
  return withoutOwnWords(document) as OpenApiDocument
}

const errorContent = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }

function withResponses(paths: OpenApiDocument['paths'], more: OpenApiOperation['responses']): OpenApiDocument['paths'] {
  const operations = (item: Readonly<Record<string, OpenApiOperation>>) =>
    Object.fromEntries(
      Object.entries(item).map(([method, operation]) => [
        method,
        { ...operation, responses: { ...operation.responses, ...more } },
      ]),
    )
  return Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, operations(item)]))
}

/** Without what only this program's schemas have: `expected` (words for its errors), and the `$id` that Elysia leaves in them. */
function withoutOwnWords(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutOwnWords)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key, content]) => {
    return !((key === 'expected' || key === '$id') && typeof content === 'string')
  })
  return Object.fromEntries(kept.map(([key, content]) => [key, withoutOwnWords(content)]))
}
