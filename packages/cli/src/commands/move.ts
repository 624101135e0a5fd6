import { XoffloadError } from '@xoffload/core'
import { defineCommand } from 'citty'
import { ClientError } from '../api/client/index.ts'
import { flowId, parseFlowId } from '../api/flow-id.ts'
import { type OutcomeJson, outcomeSchema, rebalancedSchema } from '../api/schemas.ts'
import { apiArguments, apiClient, wholeNumber } from './api-client.ts'
import { connectionCount, duration, printable, write } from './output.ts'
import { reportErrors } from './report-errors.ts'

/** How long the answer may take after the time for the move itself, milliseconds. */
const MARGIN = 5000

export const moveCommand = defineCommand({
  meta: { name: 'move', description: 'Move a client connection to another server, at its next request' },
  args: {
    flow: {
      type: 'positional',
      required: true,
      description: 'Client and service, as "xoffload flows" shows them',
      valueHint: '192.0.2.7:40312-198.51.100.1:80',
    },
    server: { type: 'positional', required: true, description: 'The server that takes it', valueHint: 'SERVER' },
    ...apiArguments,
    timeout: {
      type: 'string',
      default: '30',
      description: 'How long to wait for a request boundary, seconds; then the connection stays',
      valueHint: 'SECONDS',
    },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const timeout = wholeNumber('timeout', args.timeout, 1, 600) * 1000
      const flow = parseFlowId(args.flow)
      if (flow === undefined) {
        throw new ClientError('USAGE', `expected a flow such as 192.0.2.7:40312-198.51.100.1:80, found "${args.flow}"`)
      }
      const client = await apiClient(args)
      const outcome = await client.get(outcomeSchema, `/v1/flows/${encodeURIComponent(flowId(flow))}/move`, {
        method: 'POST',
        body: { server: args.server, timeout },
        timeout: timeout + MARGIN,
      })
      if (args.json) await write(`${JSON.stringify(outcome)}\n`)
      if (outcome.result !== 'handed-off') throw notMoved(flowId(flow), outcome)
      if (!args.json)
        await write(`${flowId(flow)} is at ${args.server}, after ${duration((outcome.times.total ?? 0) / 1000)}\n`)
    }),
})

export const rebalanceCommand = defineCommand({
  meta: { name: 'rebalance', description: 'Move connections from servers that have more than their share to others' },
  args: apiArguments,
  run: ({ args }) =>
    reportErrors(async () => {
      const result = await (await apiClient(args)).get(rebalancedSchema, '/v1/rebalance', { method: 'POST' })
      await write(
        args.json
          ? `${JSON.stringify(result)}\n`
          : `asked ${connectionCount(result.asked)} to move, each at its next request\n`,
      )
    }),
})

function notMoved(flow: string, { result, failure }: OutcomeJson): XoffloadError {
  const why = failure === undefined ? '' : `: ${printable(failure.text)} (${printable(failure.reason)})`
  const what = result === 'lost' ? 'was lost' : 'stays where it was'
  return new XoffloadError('NOT_MOVED', `${flow} ${what}${why}`)
}
