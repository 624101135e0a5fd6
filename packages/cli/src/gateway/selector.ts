import { pathToFileURL } from 'node:url'
import {
  consistentHash,
  custom,
  leastConnections,
  roundRobin,
  type SelectFunction,
  type ServerSelector,
  XoffloadError,
} from '@xoffload/core'
import type { GatewayConfig } from '../config/index.ts'
import { errorText } from '../runtime/log.ts'

/** The server selection that the configuration asks for. Rejects when its module cannot be used. */
export async function createSelector(selection: GatewayConfig['selection']): Promise<ServerSelector> {
  switch (selection.policy) {
    case 'round-robin':
      return roundRobin()
    case 'least-connections':
      return leastConnections()
    case 'consistent-hash':
      return consistentHash({ property: selection.property })
    case 'module':
      return custom(await importSelect(selection.module))
  }
}

async function importSelect(path: string): Promise<SelectFunction> {
  let select: unknown
  try {
    select = (await import(pathToFileURL(path).href)).default
  } catch (cause) {
    throw new XoffloadError('SELECTION', `selection module ${path} cannot be imported: ${errorText(cause)}`, { cause })
  }
  if (typeof select === 'function') return select as SelectFunction
  throw new XoffloadError(
    'SELECTION',
    `selection module ${path} must export default a function (request, servers) => server`,
  )
}
