#!/usr/bin/env bun
import { defineCommand, runMain } from 'citty'

// Each is loaded when it is called: those that talk to a gateway need nothing of what a gateway needs.
await runMain(
  defineCommand({
    meta: {
      name: 'xoffload',
      description: 'Hands live client connections from a layer-7 load balancer to the server that answers',
    },
    subCommands: {
      gateway: async () => (await import('./commands/gateway.ts')).gatewayCommand,
      server: async () => (await import('./commands/server.ts')).serverCommand,
      preload: async () => (await import('./commands/preload.ts')).preloadCommand,
      certs: async () => (await import('./commands/certs.ts')).certsCommand,
      servers: async () => (await import('./commands/servers.ts')).serversCommand,
      flows: async () => (await import('./commands/flows.ts')).flowsCommand,
      handoffs: async () => (await import('./commands/handoffs.ts')).handoffsCommand,
      events: async () => (await import('./commands/events.ts')).eventsCommand,
      drain: async () => (await import('./commands/drain.ts')).drainCommand,
      undrain: async () => (await import('./commands/drain.ts')).undrainCommand,
      rebalance: async () => (await import('./commands/move.ts')).rebalanceCommand,
      move: async () => (await import('./commands/move.ts')).moveCommand,
      upgrade: async () => (await import('./commands/upgrade.ts')).upgradeCommand,
      doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
    },
  }),
)
