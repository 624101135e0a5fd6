import type { Metrics } from '../metrics.ts'
import { answers } from './described.ts'
import { plugin } from './plugin.ts'

export function metricRoutes(metrics: Metrics) {
  return plugin().get(
    '/metrics',
    async () => new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } }),
    {
      detail: {
        tags: ['metrics'],
        summary: "Metrics in Prometheus' text format",
        responses: answers({ 'text/plain': { schema: { type: 'string' } } }, 500),
      },
    },
  )
}
