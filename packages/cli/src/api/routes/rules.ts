import { Type } from '@sinclair/typebox'
import type { ApiContext } from '../context.ts'
import { ruleJson } from '../views.ts'
import { answers, listContent } from './described.ts'
import { listResponse, paging, wholeNumbers } from './lists.ts'
import { plugin } from './plugin.ts'

export function ruleRoutes(context: ApiContext) {
  return plugin().get(
    '/v1/rules',
    ({ query, request }) => {
      const list = { items: context.operations.rules(), view: ruleJson }
      return listResponse(context, request, 'rules', list, query)
    },
    {
      transform: wholeNumbers,
      query: Type.Object(paging, { additionalProperties: false }),
      detail: {
        tags: ['flows'],
        summary: 'Rules in the kernel, with what they have seen',
        responses: answers(listContent('Rules', 'Rule'), 400, 503),
      },
    },
  )
}
