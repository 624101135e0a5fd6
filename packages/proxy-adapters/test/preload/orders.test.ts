// What an agent wants while it is being asked for something else.
import { afterEach, expect, test } from 'bun:test'
import { get } from '../server.ts'
import { adoptClient, cleanUp, install } from './support.ts'

afterEach(cleanUp)

test('a connection that is asked for while a verdict on another one is waited for comes back', async () => {
  const { server } = await install('node')
  const { client: idle, connection: other } = await adoptClient(server)
  await idle.send(get('/0'))
  await idle.response()
  const wish = Promise.withResolvers<unknown>()
  const route = (): { requests: number } => {
    other.suspend().then(wish.resolve, wish.reject)
    return { requests: 1000 }
  }
  const { client } = await adoptClient(server, { route })
  await client.send(get('/now'))
  expect((await client.response()).body.toString()).toBe('GET /now ')
  expect(await wish.promise).toBeDefined()
})

test('a connection that is to end meanwhile ends', async () => {
  const { server } = await install('node')
  const { client: idle, connection: other, closed } = await adoptClient(server)
  await idle.send(get('/0'))
  await idle.response()
  const route = (): { requests: number } => {
    other.terminate()
    return { requests: 1000 }
  }
  const { client } = await adoptClient(server, { route })
  await client.send(get('/now'))
  await client.response()
  await closed
})
