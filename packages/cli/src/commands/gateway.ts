import { defineCommand } from 'citty'
import { loadConfig } from '../config/index.ts'
import { Gateway } from '../gateway/gateway.ts'
import type { Successor } from '../gateway/succession.ts'
import { requiredConfigArgument } from './config-argument.ts'
import { runService } from './run-service.ts'

const TAKE_OVER = '--take-over'

export const gatewayCommand = defineCommand({
  meta: { name: 'gateway', description: 'Accept client connections and hand them to servers' },
  args: {
    config: requiredConfigArgument,
    'take-over': {
      type: 'boolean',
      default: false,
      description: 'Take over from the gateway process that runs, without closing a connection',
    },
  },
  run: ({ args }) =>
    runService(async () =>
      Gateway.start(await loadConfig('gateway', args.config), { takeOver: args['take-over'], spawnSuccessor }),
    ),
})

/** The program as it is on disk now, with the arguments of this process. */
function spawnSuccessor(): Successor {
  const args = process.argv.slice(1).filter((arg) => arg !== TAKE_OVER)
  const { pid, exited } = Bun.spawn([process.execPath, ...process.execArgv, ...args, TAKE_OVER], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  })
  return { pid, exited }
}
