import { XoffloadError } from '@xoffload/core'
import { defineCommand } from 'citty'
import { type ServerJson, serverSchema } from '../api/schemas.ts'
import { apiArguments, apiClient, wholeNumber } from './api-client.ts'
import { connectionCount, write } from './output.ts'
import { reportErrors } from './report-errors.ts'

/** How often the count of connections is looked at, milliseconds. */
const INTERVAL = 250
/** How long a drain may take when nothing is said, seconds. */
const STANDARD_TIMEOUT = 600

const server = {
  type: 'positional',
  required: true,
  description: "The server's name in the gateway's configuration",
  valueHint: 'SERVER',
} as const

export const drainCommand = defineCommand({
  meta: { name: 'drain', description: 'Move all connections away from a server, and wait until it has none' },
  args: {
    server,
    ...apiArguments,
    wait: {
      type: 'boolean',
      default: true,
      description: 'Wait until the server is empty',
      negativeDescription: 'Do not wait',
    },
    timeout: {
      type: 'string',
      default: String(STANDARD_TIMEOUT),
      description: 'How long to wait, seconds; then the exit code is 1, and the server goes on draining',
      valueHint: 'SECONDS',
    },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const seconds = wholeNumber('timeout', args.timeout, 1, 86_400)
      const client = await apiClient(args)
      const path = `/v1/servers/${encodeURIComponent(args.server)}`
      const progress = progressOf(args.json === true)
      const deadline = performance.now() + seconds * 1000
      let state = await client.get(serverSchema, `${path}/drain`, { method: 'POST' })
      await progress.show(state)
      while (args.wait && state.connections > 0) {
        if (performance.now() >= deadline) throw stillFull(state, seconds)
        await Bun.sleep(INTERVAL)
        state = await client.get(serverSchema, path)
        if (!state.draining)
          throw new XoffloadError('UNDRAINED', `${args.server} is no longer drained: somebody else has ended that`)
        await progress.show(state)
      }
      await progress.end(state)
    }),
})

export const undrainCommand = defineCommand({
  meta: { name: 'undrain', description: 'Give a drained server connections again' },
  args: { server, ...apiArguments },
  run: ({ args }) =>
    reportErrors(async () => {
      const path = `/v1/servers/${encodeURIComponent(args.server)}/drain`
      const state = await (await apiClient(args)).get(serverSchema, path, { method: 'DELETE' })
      await write(args.json ? `${JSON.stringify(state)}\n` : `${state.name} is given connections again\n`)
    }),
})

function stillFull({ name, connections }: ServerJson, seconds: number): XoffloadError {
  return new XoffloadError(
    'TIMEOUT',
    `${name} still has ${connectionCount(connections)} after ${seconds} s; it goes on draining, until "xoffload undrain ${name}"`,
  )
}

/** What a drain says: on a terminal one line that changes, elsewhere a line for each change, with `--json` in JSON. */
function progressOf(json: boolean) {
  const isTerminal = process.stdout.isTTY === true && !json
  let last: number | undefined
  return {
    async show(state: ServerJson): Promise<void> {
      if (state.connections === last) return
      last = state.connections
      if (json) await write(`${JSON.stringify(state)}\n`)
      else if (state.connections > 0) {
        const text = `${state.name}: ${connectionCount(state.connections)}`
        await write(isTerminal ? `\r\x1b[K${text}` : `${text}\n`)
      }
    },
    async end({ name, connections }: ServerJson): Promise<void> {
      const text = connections === 0 ? `${name} is empty` : `${name} is being drained`
      if (!json) await write(`${isTerminal ? '\r\x1b[K' : ''}${text}\n`)
    },
  }
}
