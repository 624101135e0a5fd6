import { statSync } from 'node:fs'
import { XoffloadError } from '@xoffload/core'
import { preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import { defineCommand } from 'citty'
import { loadConfig } from '../config/index.ts'
import { requiredConfigArgument } from './config-argument.ts'
import { reportErrors } from './report-errors.ts'

export const preloadCommand = defineCommand({
  meta: {
    name: 'preload',
    description: 'Print a systemd drop-in with which nginx or another program takes connections from the server agent',
  },
  args: {
    config: { ...requiredConfigArgument, description: "The server agent's configuration file, TOML or JSON" },
    user: {
      type: 'string',
      description: "The agent's user, a number. Default: the one that owns its key",
      valueHint: 'UID',
    },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const { application, control } = await loadConfig('server', args.config)
      if (application.program?.adapter !== 'preload')
        throw new XoffloadError(
          'USAGE',
          `${args.config} has no table application.preload: no program is to take connections`,
        )
      const user = args.user === undefined ? statSync(control.key).uid : userNumber(args.user)
      const variables = preloadEnvironment(application.program.socket, { user, environment: {} })
      console.log('[Service]')
      for (const [name, value] of Object.entries(variables)) console.log(`Environment="${name}=${value}"`)
    }),
})

function userNumber(text: string): number {
  if (/^[0-9]{1,10}$/.test(text)) return Number(text)
  throw new XoffloadError('USAGE', `the user is "${text}": a number is expected, as "id -u NAME" prints it`)
}
