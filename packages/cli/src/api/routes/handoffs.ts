import { Type } from '@sinclair/typebox'
import type { ApiContext } from '../context.ts'
import { handoffJson } from '../views.ts'
import { paging, wholeNumbers } from './lists.ts'
import { plugin } from './plugin.ts'

/** More than a gateway keeps. */
const MAXIMUM = 10_000

export function handoffRoutes({ operations }: ApiContext) {
  return plugin().get(
    '/v1/handoffs',
    ({ query: { limit = MAXIMUM } }) => ({ handoffs: operations.handoffs().slice(0, limit).map(handoffJson) }),
    {
      transform: wholeNumbers,
      query: Type.Object({ limit: paging.limit }, { additionalProperties: false }),
      response: { 200: 'Handoffs', 400: 'Error' },
      detail: { tags: ['handoffs'], summary: 'The last handoffs, with the times of their steps' },
    },
  )
}
