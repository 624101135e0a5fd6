import { expect, test } from 'bun:test'
import { Elysia } from 'elysia'
import { connect, get, serve } from './server.ts'

test('an Elysia application is served', async () => {
  const app = new Elysia()
    .get('/text', () => 'hello')
    .get('/json', ({ query }) => ({ query }))
    .get('/user/:id', ({ params: { id }, set }) => {
      set.headers['x-id'] = id
      set.status = 201
      return new Response(id, { status: 201 })
    })
    .post('/echo', ({ body }) => body as Record<string, unknown>)
    .get('/stream', async function* () {
      for (let index = 0; index < 3; index++) {
        yield `${index}`
        await Bun.sleep(1)
      }
    })
    .get('/fail', () => {
      throw new Error('expected')
    })
  const { port } = serve((request) => app.handle(request))
  const client = await connect(port)

  await client.send(get('/text'))
  const text = await client.response()
  expect([text.body.toString(), text.headers.get('content-type')?.startsWith('text/plain')]).toEqual(['hello', true])

  await client.send(get('/json?a=1'))
  const json = await client.response()
  expect(JSON.parse(json.body.toString())).toEqual({ query: { a: '1' } })
  expect(json.headers.get('content-type')).toStartWith('application/json')

  await client.send(get('/user/42'))
  const user = await client.response()
  expect([user.status, user.body.toString()]).toEqual([201, '42'])

  const body = JSON.stringify({ message: 'x'.repeat(100_000) })
  await client.send(
    `POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  expect((await client.response()).body.toString()).toBe(body)

  await client.send(get('/stream'))
  expect((await client.response()).body.toString()).toContain('0')

  await client.send(get('/fail'))
  expect((await client.response()).status).toBe(500)
  await client.send(get('/nothing'))
  expect((await client.response()).status).toBe(404)
})
