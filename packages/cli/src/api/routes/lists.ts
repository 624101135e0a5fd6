import { Type } from '@sinclair/typebox'
import type { ApiContext } from '../context.ts'
import { type ListQuery, listText } from '../list-text.ts'
import { LINES } from '../media-types.ts'

/** The part of a query that pages. */
export const paging = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'The most that are listed.' })),
  offset: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 1_000_000_000,
      description:
        'How many are skipped: `next` of the page before. What comes or goes between two pages may be missed or seen twice; a list without a limit has each that stays once.',
    }),
  ),
}

/** Numbers in a query are text: makes numbers of those that look like whole ones, before the query is checked. */
export function wholeNumbers({ query }: { query: Record<string, unknown> }): void {
  for (const name of Object.keys(paging)) {
    const text = query[name]
    if (typeof text === 'string' && /^\d{1,15}$/.test(text)) query[name] = Number(text)
  }
}

/** The answer to a request for a list: streamed, as JSON or, if the caller accepts that, as lines. */
export function listResponse<T>(
  { streams }: ApiContext,
  request: Request,
  key: string,
  query: Omit<ListQuery<T>, 'offset' | 'limit'>,
  { offset = 0, limit = Number.POSITIVE_INFINITY }: { offset?: number; limit?: number },
): Response {
  const asLines = request.headers.get('accept')?.includes(LINES) ?? false
  const format = asLines ? ({ type: 'ndjson' } as const) : ({ type: 'json', key } as const)
  const body = streams.open(() => listText({ ...query, offset, limit }, format))
  return new Response(body, { headers: { 'content-type': asLines ? LINES : 'application/json' } })
}
