import { defineCommand } from 'citty'
import { loadConfig } from '../config/index.ts'
import { Predecessor } from '../gateway/ownership.ts'
import { requiredConfigArgument } from './config-argument.ts'
import { reportErrors } from './report-errors.ts'

export const upgradeCommand = defineCommand({
  meta: {
    name: 'upgrade',
    description: 'Replace the running gateway process by a new one, with the program and configuration as they are now',
  },
  args: {
    config: { ...requiredConfigArgument, description: "The running gateway's configuration file" },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const { device } = await loadConfig('gateway', args.config)
      const running = await Predecessor.find(device)
      try {
        const pid = await running.upgrade()
        console.log(`process ${pid} has taken over`)
      } finally {
        running.close()
      }
    }),
})
