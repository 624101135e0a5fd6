import { XoffloadError } from '../errors.ts'
import { errorText } from '../handoff/error-text.ts'
import type { SelectionRequest, ServerSelector, ServerState } from './server-selector.ts'

/** A user's choice: one of the servers it is given, or its name; undefined for none. */
export type SelectFunction = (
  request: SelectionRequest,
  servers: readonly ServerState[],
) => ServerState | string | undefined

/**
 * A selector made of a user's function, which sees only the servers that are up. The selector throws {@link XoffloadError} with the
 * code `SELECTION` when the function throws or picks something that it was not given.
 */
export function custom(select: SelectFunction): ServerSelector {
  return <S extends ServerState>(request: SelectionRequest, servers: readonly S[]): S | undefined => {
    const available = servers.filter((server) => server.up)
    const choice = call(select, request, available)
    if (choice === undefined) return undefined
    const name = typeof choice === 'string' ? choice : choice.name
    const server = available.find((candidate) => candidate.name === name)
    if (!server)
      throw new XoffloadError('SELECTION', `the select function picked "${name}", which is no server that is up`)
    return server
  }
}

function call(
  select: SelectFunction,
  request: SelectionRequest,
  servers: readonly ServerState[],
): ReturnType<SelectFunction> {
  try {
    return select(request, servers)
  } catch (cause) {
    throw new XoffloadError('SELECTION', `the select function threw an error: ${errorText(cause)}`, { cause })
  }
}
