import { expect, test } from 'bun:test'
import { createApi } from '../../src/api/create-api.ts'
import { FakeGateway } from './fake-gateway.ts'

const get = (path: string, token?: string) =>
  createApi(new FakeGateway(), token === undefined ? {} : { token }).handle(new Request(`http://gateway${path}`))

interface Operation {
  summary?: string
  requestBody?: { content: Record<string, { schema: object }> }
  responses: Record<string, { content: Record<string, { schema: object }> }>
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, object>; securitySchemes: object }
  security: unknown
}

test('the document has every route, each answer with its schema', async () => {
  const { paths, components } = (await (await get('/openapi.json')).json()) as Document
  const routes = Object.entries(paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method} ${path}`))
  expect(routes.sort()).toEqual([
    'delete /v1/servers/{name}/drain',
    'get /metrics',
    'get /v1/events',
    'get /v1/flows',
    'get /v1/flows/{id}',
    'get /v1/handoffs',
    'get /v1/rules',
    'get /v1/servers',
    'get /v1/servers/{name}',
    'post /v1/flows/{id}/move',
    'post /v1/rebalance',
    'post /v1/servers/{name}/drain',
  ])
  for (const operation of Object.values(paths).flatMap((item) => Object.values(item))) {
    expect(operation.summary).toBeString()
    expect(operation.responses[200]).toBeDefined()
    for (const { content } of Object.values(operation.responses)) {
      expect(Object.values(content).length).toBeGreaterThan(0)
      for (const { schema } of Object.values(content)) expect(Object.keys(schema).length).toBeGreaterThan(0)
    }
  }
  expect(paths['/v1/flows']?.get?.responses[200]?.content).toEqual({
    'application/json': { schema: { $ref: '#/components/schemas/Flows' } },
    'application/x-ndjson': { schema: { $ref: '#/components/schemas/Flow' } },
  })
  expect(paths['/v1/flows/{id}/move']?.post?.requestBody?.content).toEqual({
    'application/json': { schema: { $ref: '#/components/schemas/Move' } },
  })
  for (const [, name] of JSON.stringify(paths).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    expect(components.schemas[name ?? '']).toBeDefined()
  }
})

test('the document of an API with a token says so, and needs none itself', async () => {
  const open = (await (await get('/openapi.json')).json()) as Document
  expect([open.security, open.components.securitySchemes]).toEqual([[], {}])
  const { security, components, paths } = (await (await get('/openapi.json', '0123456789abcdef')).json()) as Document
  expect(security).toEqual([{ token: [] }])
  expect(components.securitySchemes).toEqual({ token: { type: 'http', scheme: 'bearer' } })
  expect(paths['/v1/servers']?.get?.responses[401]).toBeDefined()
})

test('the page shows every route and loads nothing from elsewhere', async () => {
  const response = await get('/openapi', '0123456789abcdef')
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(response.headers.get('content-security-policy')).toStartWith("default-src 'none'")
  const page = await response.text()
  for (const route of ['GET /v1/servers', 'POST /v1/flows/{id}/move', 'DELETE /v1/servers/{name}/drain']) {
    expect(page).toContain(`<code>${route}</code>`)
  }
  expect(page).not.toMatch(/<script|<link|<img|https?:\/\//)
  for (const [, anchor] of page.matchAll(/href="#([^"]+)"/g)) expect(page).toContain(`id="${anchor}"`)
})
