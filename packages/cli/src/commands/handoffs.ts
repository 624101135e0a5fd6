import { defineCommand } from 'citty'
import { type HandoffJson, handoffsSchema } from '../api/schemas.ts'
import { STEP_NAMES } from '../api/steps.ts'
import { apiArguments, apiClient, wholeNumber } from './api-client.ts'
import { type Column, write, writeTable } from './output.ts'
import { reportErrors } from './report-errors.ts'

const columns: readonly Column<HandoffJson>[] = [
  { heading: 'TIME', text: ({ at }) => at },
  { heading: 'FLOW', text: ({ flow }) => flow },
  { heading: 'FROM', text: ({ from }) => from },
  { heading: 'TO', text: ({ to }) => to },
  { heading: 'RESULT', text: ({ outcome }) => outcome.result },
]

const failure: Column<HandoffJson> = {
  heading: 'FAILURE',
  text: ({ outcome }) => (outcome.failure === undefined ? '' : `${outcome.failure.reason}: ${outcome.failure.text}`),
}

/** Microseconds. */
function times(steps: readonly (typeof STEP_NAMES)[number][]): Column<HandoffJson>[] {
  return steps.map((step) => ({
    heading: `${step.toUpperCase()} us`,
    text: ({ outcome }) => String(outcome.times[step] ?? '-'),
    align: 'right',
  }))
}

export const handoffsCommand = defineCommand({
  meta: { name: 'handoffs', description: 'Show the last handoffs of a gateway, the newest first' },
  args: {
    ...apiArguments,
    limit: { type: 'string', description: 'The most that are shown', valueHint: 'N' },
    steps: { type: 'boolean', description: 'Show the times of all steps, microseconds' },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const limit = args.limit === undefined ? '' : `?limit=${wholeNumber('limit', args.limit, 1, 1_000_000)}`
      const { handoffs } = await (await apiClient(args)).get(handoffsSchema, `/v1/handoffs${limit}`)
      if (args.json) await write(handoffs.map((handoff) => `${JSON.stringify(handoff)}\n`).join(''))
      else await writeTable([...columns, ...times(args.steps ? STEP_NAMES : ['total']), failure], handoffs)
    }),
})
