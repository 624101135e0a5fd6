import { defineCommand } from 'citty'
import { LINES } from '../api/media-types.ts'
import { FLOW_STATES, type FlowJson } from '../api/schemas.ts'
import { apiArguments, apiClient, wholeNumber } from './api-client.ts'
import { type Column, duration, write, writeTable } from './output.ts'
import { reportErrors } from './report-errors.ts'

const columns: readonly Column<FlowJson>[] = [
  { heading: 'FLOW', text: ({ flow }) => flow },
  { heading: 'SERVER', text: ({ server }) => server },
  { heading: 'STATE', text: ({ state }) => state },
  { heading: 'AGE', text: ({ age }) => duration(age), align: 'right' },
  { heading: 'MOVES', text: ({ moves }) => String(moves), align: 'right' },
]

export const flowsCommand = defineCommand({
  meta: { name: 'flows', description: 'Show the client connections that a gateway steers' },
  args: {
    ...apiArguments,
    server: { type: 'string', description: 'Only those of this server', valueHint: 'NAME' },
    state: { type: 'string', description: 'Only those in this state', valueHint: FLOW_STATES.join(' | ') },
    limit: { type: 'string', description: 'The most that are shown', valueHint: 'N' },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const query = new URLSearchParams()
      if (args.server !== undefined) query.set('server', args.server)
      if (args.state !== undefined) query.set('state', args.state)
      if (args.limit !== undefined) query.set('limit', String(wholeNumber('limit', args.limit, 1, 1_000_000_000)))
      const lines = (await apiClient(args)).lines(`/v1/flows?${query}`, LINES)
      if (!args.json) return writeTable(columns, parsed<FlowJson>(lines))
      for await (const line of lines) await write(`${line}\n`)
    }),
})

async function* parsed<T>(lines: AsyncIterable<string>): AsyncGenerator<T, void> {
  for await (const line of lines) yield JSON.parse(line) as T
}
