import { LINES } from '../media-types.ts'
import type { models } from '../schemas.ts'

type Model = keyof typeof models

/** A named schema in the OpenAPI document. */
function reference(name: Model) {
  return { schema: { $ref: `#/components/schemas/${name}` } }
}

/**
 * The answers of a route whose answer is streamed, for the OpenAPI document: Elysia describes those of other routes by itself, and leaves
 * these alone only on a route without any.
 */
export function answers(content: Record<string, object>, ...problems: number[]) {
  const problem = {
    description: 'A request that was not carried out.',
    content: { 'application/json': reference('Error') },
  }
  return {
    200: { description: 'The answer.', content },
    ...Object.fromEntries(problems.map((status) => [status, problem])),
  }
}

/** A list in both of its forms. */
export function listContent(list: Model, item: Model) {
  return { 'application/json': reference(list), [LINES]: reference(item) }
}

/** One form with a named schema. */
export function content(type: string, name: Model) {
  return { [type]: reference(name) }
}
