import { defineCommand } from 'citty'
import { loadConfig } from '../config/index.ts'
import { ServerAgent } from '../server/server-agent.ts'
import { requiredConfigArgument } from './config-argument.ts'
import { runService } from './run-service.ts'

export const serverCommand = defineCommand({
  meta: { name: 'server', description: 'Take over connections and serve them with an application' },
  args: {
    config: requiredConfigArgument,
  },
  run: ({ args }) => runService(async () => ServerAgent.start(await loadConfig('server', args.config))),
})
