import { defineCommand } from 'citty'
import { type ServerJson, serversSchema } from '../api/schemas.ts'
import { apiArguments, apiClient } from './api-client.ts'
import { type Column, write, writeTable } from './output.ts'
import { reportErrors } from './report-errors.ts'

const columns: readonly Column<ServerJson>[] = [
  { heading: 'SERVER', text: ({ name }) => name },
  { heading: 'STATE', text: ({ up, draining }) => `${up ? 'up' : 'down'}${draining ? ', draining' : ''}` },
  { heading: 'CONNECTIONS', text: ({ connections }) => String(connections), align: 'right' },
]

export const serversCommand = defineCommand({
  meta: { name: 'servers', description: "Show a gateway's servers" },
  args: apiArguments,
  run: ({ args }) =>
    reportErrors(async () => {
      const { servers } = await (await apiClient(args)).get(serversSchema, '/v1/servers')
      if (args.json) await write(servers.map((server) => `${JSON.stringify(server)}\n`).join(''))
      else await writeTable(columns, servers)
    }),
})
