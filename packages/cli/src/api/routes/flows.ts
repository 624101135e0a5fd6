import { Type } from '@sinclair/typebox'
import type { FlowKey } from '@xoffload/core'
import { hostName } from '../../config/schema.ts'
import type { FlowView } from '../../gateway/operations.ts'
import { OrderError } from '../../gateway/order-error.ts'
import type { ApiContext } from '../context.ts'
import { parseFlowId } from '../flow-id.ts'
import { moveFlow } from '../move.ts'
import { RequestError } from '../problem.ts'
import { flowSchema } from '../schemas.ts'
import { countersJson, flowJson } from '../views.ts'
import { answers, listContent } from './described.ts'
import { listResponse, paging, wholeNumbers } from './lists.ts'
import { plugin } from './plugin.ts'

const expected = 'a flow such as "192.0.2.7:40312-198.51.100.1:80"'
const params = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 128, expected, description: `The flow: ${expected.slice(2)}.` }),
})
const tags = ['flows']

export function flowRoutes(context: ApiContext) {
  const { operations } = context
  return plugin()
    .get(
      '/v1/flows',
      ({ query: { server, state, ...page }, request }) => {
        const isWanted = (flow: FlowView) =>
          (server === undefined || flow.server === server) && (state === undefined || flow.state === state)
        const view = (flow: FlowView) => (isWanted(flow) ? flowJson(flow) : undefined)
        return listResponse(context, request, 'flows', { items: operations.flows(), view }, page)
      },
      {
        transform: wholeNumbers,
        query: Type.Object(
          {
            server: Type.Optional(hostName('Only those of this server.')),
            state: Type.Optional(flowSchema.properties.state),
            ...paging,
          },
          { additionalProperties: false },
        ),
        detail: {
          tags,
          summary: 'Client connections that have a rule',
          responses: answers(listContent('Flows', 'Flow'), 400, 503),
        },
      },
    )
    .get(
      '/v1/flows/:id',
      async ({ params: { id } }) => {
        const flow = flowOf(id)
        const found = operations.flow(flow)
        if (found === undefined) throw unknownFlow(id)
        const counters = await operations.counters(flow)
        return { ...flowJson(found), ...(counters !== undefined && { counters: countersJson(counters) }) }
      },
      {
        params,
        response: { 200: 'FlowDetails', 400: 'Error', 404: 'Error' },
        detail: { tags, summary: 'A client connection, and what its rule has seen' },
      },
    )
    .post('/v1/flows/:id/move', ({ params: { id }, body, request }) => moveFlow(context, flowOf(id), body, request), {
      parse: 'json',
      params,
      body: 'Move',
      response: { 200: 'Outcome', 400: 'Error', 404: 'Error', 409: 'Error', 503: 'Error', 504: 'Error' },
      detail: {
        tags,
        summary: 'Move a connection to another server',
        description:
          'At its next request boundary. The answer comes when the handoff is over, whatever its result. An order whose caller goes away is given up.',
      },
    })
}

function flowOf(id: string): FlowKey {
  const flow = parseFlowId(id)
  if (flow === undefined) throw new RequestError(400, 'invalid', `path: id: expected ${expected}, found "${id}"`)
  return flow
}

function unknownFlow(id: string): OrderError {
  return new OrderError('unknown-flow', `the gateway has no rule for the flow ${id}`)
}
