import type { ApiContext } from '../context.ts'
import { eventText } from '../event-text.ts'
import { EVENTS } from '../media-types.ts'
import { eventJson } from '../views.ts'
import { answers, content } from './described.ts'
import { plugin } from './plugin.ts'

/** The most that may wait for one reader, in characters: about 500 handoffs. */
const MAXIMUM_WAITING = 256 * 1024

/** Milliseconds between two signs of life. A reader that hears nothing for three times as long may take the gateway for gone. */
const HEARTBEAT = 10_000

export function eventRoutes({ operations, streams, signal }: ApiContext) {
  return plugin().get(
    '/v1/events',
    () => {
      const body = streams.open(() =>
        eventText({
          subscribe: (send) => operations.watch((event) => send(event.type, JSON.stringify(eventJson(event)))),
          maximumWaiting: MAXIMUM_WAITING,
          heartbeat: HEARTBEAT,
          signal,
        }),
      )
      return new Response(body, { headers: { 'content-type': EVENTS, 'cache-control': 'no-store' } })
    },
    {
      detail: {
        tags: ['events'],
        summary: 'What happens, as server-sent events',
        description:
          'From now on, until the gateway ends. A reader that is too slow is told how many events it has missed; one that does not read at all is cut off.',
        responses: answers(content(EVENTS, 'Event'), 503),
      },
    },
  )
}
