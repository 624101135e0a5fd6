// Who may pass connections to a program, and who may get them: this needs other users, and so root.
import { afterEach, expect, test } from 'bun:test'
import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'
import { PreloadServer, preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import { adoptClient, afterTest, cleanUp, programs, socketPath, start } from '../preload/support.ts'

afterEach(cleanUp)

import { get } from '../server.ts'

/** Nobody in particular. */
const STRANGER = 64_243

const asStranger = (command: readonly string[]) => [
  'setpriv',
  '--reuid',
  `${STRANGER}`,
  '--regid',
  `${STRANGER}`,
  '--clear-groups',
  '--',
  ...command,
]

/** A path that every user can reach. */
function publicSocket(): string {
  const path = socketPath()
  chmodSync(dirname(path), 0o777)
  return path
}

const agentProgram = (socket: string, port: number) => `
  import { PreloadServer } from ${JSON.stringify(Bun.resolveSync('@xoffload/proxy-adapters/preload', import.meta.dir))}
  const listener = { address: '127.0.0.1', port: ${port} }
  const server = await PreloadServer.open({ socket: ${JSON.stringify(socket)}, listener, users: [0] })
  const outcome = await server.ready({ timeoutMilliseconds: 1000 }).then(() => 'ready', ({ reason }) => reason)
  server.close()
  process.stdout.write(outcome)`

async function strangersAgent(socket: string, port: number): Promise<string> {
  const child = Bun.spawn(asStranger([process.execPath, '-e', agentProgram(socket, port)]), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, HOME: '/' },
  })
  return await new Response(child.stdout).text()
}

test("a program of a user who was not named gets nobody's connections", async () => {
  const socket = publicSocket()
  const program = await start(asStranger(programs.node), preloadEnvironment(socket))
  const errors: string[] = []
  const listener = { address: '127.0.0.1', port: program.port }
  const server = await PreloadServer.open({ socket, listener, onError: (error) => errors.push(String(error)) })
  afterTest(() => server.close())
  await expect(server.ready({ timeoutMilliseconds: 300 })).rejects.toThrow('does not answer')
  expect(errors[0]).toContain(`of user ${STRANGER} connected to ${socket}: name the user in "users"`)
})

test('a program of a user who was named is given connections', async () => {
  const socket = publicSocket()
  const program = await start(asStranger(programs.node), preloadEnvironment(socket))
  const listener = { address: '127.0.0.1', port: program.port }
  const server = await PreloadServer.open({ socket, listener, users: [STRANGER] })
  afterTest(() => server.close())
  const { client } = await adoptClient(server)
  await client.send(get('/1'))
  expect((await client.response()).body.toString()).toBe('GET /1 ')
})

test('a program takes no connection from an agent of another user', async () => {
  const socket = publicSocket()
  const program = await start(programs.node, preloadEnvironment(socket))
  expect(await strangersAgent(socket, program.port)).toBe('timeout')
})

test('a program takes connections from an agent of the user that it was told', async () => {
  const socket = publicSocket()
  const program = await start(programs.node, preloadEnvironment(socket, { user: STRANGER }))
  expect(await strangersAgent(socket, program.port)).toBe('ready')
})
