import { type Endpoint, formatEndpoint } from '@xoffload/core'
import type { GatewayServer } from '../../config/index.ts'
import { type ControlCredentials, readCredentials } from '../../control/index.ts'
import { sourceProblem } from '../../runtime/source-address.ts'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'
import { greetingOf } from '../greeting.ts'

/** Each server's agent answers on its control port, has the right certificate, and accepts this gateway's. */
export const serversCheck: Check = {
  name: 'servers',
  async run({ role, config }) {
    if (role !== 'gateway' || config === undefined) return undefined
    const credentials = await readCredentials(config.control)
    return worst(await Promise.all(config.servers.map((server) => reach(server, config.service, credentials))))
  },
}

/** A gateway starts without its servers, and connects when they are there: no failure, unless it is this host that keeps them away. */
async function reach(
  { name, control }: GatewayServer,
  service: readonly Endpoint[],
  credentials: ControlCredentials,
): Promise<Result> {
  const where = `${name} at ${formatEndpoint(control)}`
  const problem = await greetingOf(name, control, credentials)
  if (problem === undefined) return ok(`${where} answers`)
  const cause = sourceProblem(control.address, service)
  return cause === undefined
    ? warning(`${where} cannot be used now: ${problem}`)
    : failed(`${where} cannot be used: ${problem}; ${cause}`)
}
