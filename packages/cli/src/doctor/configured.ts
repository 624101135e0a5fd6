import type { Endpoint } from '@xoffload/core'
import type { Examined } from './check.ts'

/** The service addresses with their ports, undefined without a configuration. */
export function serviceEndpoints(examined: Examined): readonly Endpoint[] | undefined {
  if (examined.role === 'gateway') return examined.config?.service
  if (examined.role === 'server') return examined.config?.services
  return undefined
}

/** Where the process will listen, with what for. */
export function listeningEndpoints(examined: Examined): readonly (readonly [purpose: string, endpoint: Endpoint])[] {
  if (examined.role === 'gateway') {
    // nginx listens there.
    if (examined.config?.nginx !== undefined) return []
    return (examined.config?.service ?? []).map((endpoint) => ['clients', endpoint])
  }
  if (examined.role !== 'server' || examined.config === undefined) return []
  const { control, application } = examined.config
  const ofApplication = application.listen === undefined ? [] : [['the application', application.listen] as const]
  return [['the control channel', control.listen], ...ofApplication]
}
