import { formatEndpoint } from '@xoffload/core'
import type { GatewayServer } from '../../config/index.ts'
import { type ControlCredentials, readCredentials } from '../../control/index.ts'
import { type Check, ok, type Result, warning, worst } from '../check.ts'
import { greetingOf } from '../greeting.ts'

/** Each server's agent answers on its control port, has the right certificate, and accepts this gateway's. */
export const serversCheck: Check = {
  name: 'servers',
  async run({ role, config }) {
    if (role !== 'gateway' || config === undefined) return undefined
    const credentials = await readCredentials(config.control)
    return worst(await Promise.all(config.servers.map((server) => reach(server, credentials))))
  },
}

/** A gateway starts without its servers, and connects when they are there: hence no failure. */
async function reach({ name, control }: GatewayServer, credentials: ControlCredentials): Promise<Result> {
  const where = `${name} at ${formatEndpoint(control)}`
  const problem = await greetingOf(name, control, credentials)
  return problem === undefined ? ok(`${where} answers`) : warning(`${where} cannot be used now: ${problem}`)
}
