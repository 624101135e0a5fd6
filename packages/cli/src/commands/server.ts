import { defineCommand } from 'citty'
import { loadConfig } from '../config/index.ts'
import { ServerAgent } from '../server/server-agent.ts'
import { runService } from './run-service.ts'

export const serverCommand = defineCommand({
  meta: { name: 'server', description: 'Take over connections and serve them with an application' },
  args: {
    config: {
      type: 'string',
      alias: 'c',
      required: true,
      description: 'Configuration file, TOML or JSON',
      valueHint: 'FILE',
    },
  },
  run: ({ args }) => runService(async () => ServerAgent.start(await loadConfig('server', args.config))),
})
