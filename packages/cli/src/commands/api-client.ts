import { formatEndpoint } from '@xoffload/core'
import { ApiClient, addressText, ClientError, parseApiAddress } from '../api/client/index.ts'
import { readToken } from '../api/token.ts'
import { loadApiConfig } from '../config/index.ts'
import { configArgument } from './config-argument.ts'

/** Where a gateway's API is when nothing is said. */
const STANDARD_SOCKET = '/run/xoffload/gateway.sock'

/** The options of every command that talks to a gateway. */
export const apiArguments = {
  api: {
    type: 'string',
    description: `Where the gateway's control API is (default: unix:${STANDARD_SOCKET})`,
    valueHint: 'unix:PATH | http://127.0.0.1:PORT',
  },
  config: {
    ...configArgument,
    description: "The gateway's configuration file, which says where its API is and where its token",
  },
  'token-file': { type: 'string', description: 'A file with the token that the API asks for', valueHint: 'FILE' },
  json: { type: 'boolean', description: 'One JSON object a line instead of a table' },
} as const

/** The values of {@link apiArguments}. */
export interface ApiArguments {
  readonly api?: string | undefined
  readonly config?: string | undefined
  readonly 'token-file'?: string | undefined
}

/** A caller of the API that the options name. Throws a typed error. */
export async function apiClient(args: ApiArguments): Promise<ApiClient> {
  const { api, config, 'token-file': tokenFile } = args
  if (config === undefined) return clientOf(api ?? `unix:${STANDARD_SOCKET}`, tokenFile)
  if (api !== undefined) throw new ClientError('USAGE', 'expected either --api or --config, found both')
  const found = await loadApiConfig(config)
  if (found === undefined) {
    throw new ClientError('USAGE', `${config} has no [api] section: the gateway serves no control API`)
  }
  if ('socket' in found) return clientOf(addressText(found), tokenFile)
  const { address, port } = found.listen
  return clientOf(`http://${formatEndpoint({ address, port })}`, tokenFile ?? found.token)
}

async function clientOf(text: string, tokenFile: string | undefined): Promise<ApiClient> {
  const address = parseApiAddress(text)
  return new ApiClient(tokenFile === undefined ? { address } : { address, token: await readToken(tokenFile) })
}

/** A whole number that was given as text. Throws {@link ClientError}. */
export function wholeNumber(option: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < minimum || value > maximum) {
    throw new ClientError(
      'USAGE',
      `--${option}: expected a whole number from ${minimum} to ${maximum}, found "${text}"`,
    )
  }
  return value
}
