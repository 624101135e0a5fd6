import { defineCommand } from 'citty'
import { loadConfig } from '../config/index.ts'
import { Gateway } from '../gateway/gateway.ts'
import { runService } from './run-service.ts'

export const gatewayCommand = defineCommand({
  meta: { name: 'gateway', description: 'Accept client connections and hand them to servers' },
  args: {
    config: {
      type: 'string',
      alias: 'c',
      required: true,
      description: 'Configuration file, TOML or JSON',
      valueHint: 'FILE',
    },
  },
  run: ({ args }) => runService(async () => Gateway.start(await loadConfig('gateway', args.config))),
})
