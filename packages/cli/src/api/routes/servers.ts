import { Type } from '@sinclair/typebox'
import { hostName } from '../../config/schema.ts'
import { OrderError } from '../../gateway/order-error.ts'
import type { ApiContext } from '../context.ts'
import type { ServerJson } from '../schemas.ts'
import { serverJson } from '../views.ts'
import { plugin } from './plugin.ts'

const params = Type.Object({ name: hostName("The server's name.") })
const tags = ['servers']

export function serverRoutes({ operations }: ApiContext) {
  const server = (name: string): ServerJson => {
    const found = operations.servers().find((candidate) => candidate.name === name)
    if (found === undefined) throw new OrderError('unknown-server', `no server ${name} is configured`)
    return serverJson(found)
  }
  return plugin()
    .get('/v1/servers', () => ({ gateway: operations.name, servers: operations.servers().map(serverJson) }), {
      response: { 200: 'Servers' },
      detail: { tags, summary: 'All servers' },
    })
    .get('/v1/servers/:name', ({ params: { name } }) => server(name), {
      params,
      response: { 200: 'Server', 400: 'Error', 404: 'Error' },
      detail: { tags, summary: 'A server' },
    })
    .post(
      '/v1/servers/:name/drain',
      ({ params: { name } }) => {
        operations.drain(name)
        return server(name)
      },
      {
        params,
        response: { 200: 'Server', 400: 'Error', 404: 'Error', 409: 'Error', 503: 'Error' },
        detail: {
          tags,
          summary: 'Drain a server',
          description:
            'It gets no more connections, and those that it has move away, each at its next request boundary. It is empty when its `connections` are 0.',
        },
      },
    )
    .delete(
      '/v1/servers/:name/drain',
      ({ params: { name } }) => {
        operations.undrain(name)
        return server(name)
      },
      {
        params,
        response: { 200: 'Server', 400: 'Error', 404: 'Error', 409: 'Error', 503: 'Error' },
        detail: { tags, summary: 'Give a drained server connections again' },
      },
    )
    .post('/v1/rebalance', () => ({ asked: operations.rebalance() }), {
      response: { 200: 'Rebalanced', 409: 'Error', 503: 'Error' },
      detail: {
        tags,
        summary: 'Move connections from servers that have more than their share to those that have less',
      },
    })
}
