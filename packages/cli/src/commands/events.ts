import { defineCommand } from 'citty'
import { eventData } from '../api/client/index.ts'
import { EVENTS } from '../api/media-types.ts'
import type { EventJson } from '../api/schemas.ts'
import { apiArguments, apiClient } from './api-client.ts'
import { connectionCount, duration, printable, write } from './output.ts'
import { reportErrors } from './report-errors.ts'

export const eventsCommand = defineCommand({
  meta: { name: 'events', description: 'Show what happens at a gateway, as it happens, until the gateway ends' },
  args: apiArguments,
  run: ({ args }) =>
    reportErrors(async () => {
      const lines = (await apiClient(args)).lines('/v1/events', EVENTS)
      for await (const data of eventData(lines)) {
        if (args.json) await write(`${data}\n`)
        else await write(`${new Date().toISOString()}  ${printable(textOf(JSON.parse(data) as EventJson))}\n`)
      }
      process.stderr.write('the gateway has ended\n')
    }),
})

function textOf(event: EventJson): string {
  switch (event.type) {
    case 'handoff': {
      const { flow, from, to, outcome } = event.handoff
      const why = outcome.failure === undefined ? '' : ` (${outcome.failure.reason}: ${outcome.failure.text})`
      return `${flow} ${from} > ${to}: ${outcome.result} after ${duration((outcome.times.total ?? 0) / 1000)}${why}`
    }
    case 'ended':
      return `${event.flow} at ${event.server}: ended`
    case 'drain':
      return `${event.server}: ${connectionCount(event.remaining)} left`
    case 'missed':
      return `${event.count} events are not shown: they came faster than they were read`
    default:
      return `${event.server}: ${event.type === 'server-up' ? 'up' : 'down'}`
  }
}
