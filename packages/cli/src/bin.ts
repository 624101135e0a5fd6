#!/usr/bin/env bun
import { defineCommand, runMain } from 'citty'
import { certsCommand } from './commands/certs.ts'
import { gatewayCommand } from './commands/gateway.ts'
import { serverCommand } from './commands/server.ts'

await runMain(
  defineCommand({
    meta: {
      name: 'xoffload',
      description: 'Hands live client connections from a layer-7 load balancer to the server that answers',
    },
    subCommands: { gateway: gatewayCommand, server: serverCommand, certs: certsCommand },
  }),
)
