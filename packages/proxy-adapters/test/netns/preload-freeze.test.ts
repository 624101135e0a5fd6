// A connection that a program has given back is frozen and leaves: the program's end of it reaches nobody.
import { afterEach, expect, test } from 'bun:test'
import { freeze, takeSnapshot } from '@xoffload/linux'
import type { PreloadSuspended } from '@xoffload/proxy-adapters/preload'
import { adoptClient, cleanUp, descriptors, eventually, install } from '../preload/support.ts'
import { get } from '../server.ts'

afterEach(cleanUp)

test.each(['idle', 'before a request'])('%s', async (when) => {
  const { server, program } = await install('node')
  const stopped = Promise.withResolvers<PreloadSuspended>()
  const { client, connection, closed } = await adoptClient(server, {
    route: (_, { target }) => (target === '/leaves' ? 'suspend' : 'serve'),
    onSuspended: stopped.resolve,
  })
  await client.send(get('/1'))
  expect((await client.response()).body.toString()).toBe('GET /1 ')
  const before = descriptors(program.pid)
  if (when === 'idle') connection.suspend().then((suspended) => suspended && stopped.resolve(suspended))
  else await client.send(get('/leaves'))
  const suspended = await stopped.promise
  freeze(suspended.fd)
  // The program finds the end of its stream, and closes.
  await eventually(() => descriptors(program.pid) === before - 1)
  const { receive, send } = takeSnapshot(suspended.fd)
  expect(Buffer.from(receive.queue).toString()).toBe(when === 'idle' ? '' : get('/leaves'))
  expect(send.sent.length + send.unsent.length).toBe(0)
  suspended.close()
  await closed
  expect(client.ended).toBe(false)
})
