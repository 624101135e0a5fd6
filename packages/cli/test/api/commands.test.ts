import { expect, test } from 'bun:test'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serveApi } from '../../src/api/index.ts'
import { OrderError } from '../../src/gateway/order-error.ts'
import { gatewayToml } from '../config/support.ts'
import { FakeGateway, firstFlow, flowOf, handoff } from './fake-gateway.ts'
import { onSocket, temporaryFolder, token, until } from './support.ts'

const folder = temporaryFolder()
const program = join(import.meta.dir, '../../src/bin.ts')

/** The `xoffload` command, begun. */
function begin(args: readonly string[], environment: Record<string, string> = {}) {
  return Bun.spawn([process.execPath, program, ...args], {
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, NO_COLOR: '1', ...environment },
  })
}

async function run(args: readonly string[], environment?: Record<string, string>) {
  const child = begin(args, environment)
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()])
  return { code: await child.exited, stdout, stderr: stderr.replaceAll(folder, '<folder>') }
}

/** Runs a command against a fake gateway on a socket of its own. */
let sockets = 0
async function withGateway(gateway: FakeGateway) {
  const socket = join(folder, `${sockets++}.sock`)
  const server = await onSocket(gateway, socket)
  const api = ['--api', `unix:${socket}`]
  return {
    socket,
    run: (...args: string[]) => run([...args, ...api]),
    begin: (...args: string[]) => begin([...args, ...api]),
    close: server.close,
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  }
}

test('servers', async () => {
  const gateway = new FakeGateway()
  gateway.drain('s2')
  await using host = await withGateway(gateway)
  expect(await host.run('servers')).toEqual({
    code: 0,
    stdout: [
      'SERVER  STATE           CONNECTIONS', //
      's1      up                        2',
      's2      down, draining            1',
      '',
    ].join('\n'),
    stderr: '',
  })
  const { stdout } = await host.run('servers', '--json')
  expect(stdout.split('\n')[0]).toBe('{"name":"s1","up":true,"draining":false,"connections":2}')
})

test('flows, all and some', async () => {
  await using host = await withGateway(new FakeGateway({ flows: 4 }))
  expect((await host.run('flows')).stdout).toBe(
    [
      'FLOW                             SERVER  STATE      AGE  MOVES',
      '10.0.0.0:40000-198.51.100.1:80  s1      steered  1.5 s      1',
      '10.0.0.1:40000-198.51.100.1:80  s2      steered  1.5 s      1',
      '10.0.0.2:40000-198.51.100.1:80  s1      ended    1.5 s      1',
      '10.0.0.3:40000-198.51.100.1:80  s2      steered  1.5 s      1',
      '',
    ]
      .join('\n')
      .replace('FLOW                             ', 'FLOW                            '),
  )
  const { stdout } = await host.run('flows', '--json', '--server', 's1', '--state', 'ended', '--limit', '5')
  expect(JSON.parse(stdout)).toMatchObject({ flow: '10.0.0.2:40000-198.51.100.1:80', state: 'ended' })
  expect((await host.run('flows', '--server', 'nobody')).stdout).toBe('FLOW  SERVER  STATE  AGE  MOVES\n')
  expect(await host.run('flows', '--state', 'gone')).toEqual({
    code: 1,
    stdout: '',
    stderr: 'xoffload: query: state: expected "moving", "steered" or "ended", found "gone"\n',
  })
})

test('many flows go through a pipe, and a reader that has seen enough ends the command in silence', async () => {
  await using host = await withGateway(new FakeGateway({ flows: 50_000 }))
  const all = await host.run('flows')
  expect([all.code, all.stdout.split('\n').length]).toEqual([0, 50_002])
  const child = Bun.spawn(
    ['sh', '-c', `"${process.execPath}" "${program}" flows --api "unix:${host.socket}" | head -n 2`],
    { stdout: 'pipe', stderr: 'pipe' },
  )
  expect((await child.stdout.text()).split('\n')).toHaveLength(3)
  expect(await child.stderr.text()).toBe('')
})

test('handoffs, with all steps or none, and texts of other hosts cannot steer the terminal', async () => {
  const gateway = new FakeGateway()
  const failure = { reason: 'refused', text: 'no \x1b[2J room' } as const
  gateway.past = [handoff(2, { result: 'rolled-back', handoff: 8, failure, times: { total: 70 } }), handoff(1)]
  await using host = await withGateway(gateway)
  const { stdout } = await host.run('handoffs')
  expect(stdout.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
    'TIME FLOW FROM TO RESULT TOTAL us FAILURE',
    '2026-01-01T00:00:00.000Z 10.0.0.2:40000-198.51.100.1:80 gateway s1 rolled-back 70 refused: no ?[2J room',
    '2026-01-01T00:00:00.000Z 10.0.0.1:40000-198.51.100.1:80 gateway s1 handed-off 900',
    '',
  ])
  const steps = (await host.run('handoffs', '--steps', '--limit', '1')).stdout
  expect(steps).toContain('LOCK us  TAKE us')
  expect(steps.split('\n')).toHaveLength(3)
  const lines = (await host.run('handoffs', '--json')).stdout.trim().split('\n')
  expect(lines.map((line) => JSON.parse(line).outcome.handoff)).toEqual([8, 7])
})

test('drain shows the count until the server is empty', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  const child = host.begin('drain', 's1')
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader()
  expect((await reader.read()).value).toBe('s1: 2 connections\n')
  gateway.connections('s1', 1)
  expect((await reader.read()).value).toBe('s1: 1 connection\n')
  gateway.connections('s1', 0)
  expect((await reader.read()).value).toBe('s1 is empty\n')
  expect(await child.exited).toBe(0)
  expect(gateway.orders).toEqual(['drain s1'])
})

test('drain of an empty server, in JSON, and without waiting', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  expect(await host.run('drain', 's1', '--no-wait')).toEqual({
    code: 0,
    stdout: 's1: 2 connections\ns1 is being drained\n',
    stderr: '',
  })
  gateway.connections('s1', 0)
  expect((await host.run('drain', 's1')).stdout).toBe('s1 is empty\n')
  expect((await host.run('drain', 's1', '--json')).stdout).toBe(
    '{"name":"s1","up":true,"draining":true,"connections":0}\n',
  )
})

test('a drain that takes too long fails and says how many connections are left', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  expect(await host.run('drain', 's1', '--timeout', '1')).toEqual({
    code: 1,
    stdout: 's1: 2 connections\n',
    stderr: 'xoffload: s1 still has 2 connections after 1 s; it goes on draining, until "xoffload undrain s1"\n',
  })
  expect(gateway.list[0]?.draining).toBe(true)
})

test('a drain that somebody else ends fails', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  const child = host.begin('drain', 's1')
  await until(() => gateway.orders.length > 0)
  gateway.undrain('s1')
  expect(await child.stderr.text()).toBe('xoffload: s1 is no longer drained: somebody else has ended that\n')
  expect(await child.exited).toBe(1)
})

test('undrain and rebalance', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  expect((await host.run('undrain', 's1')).stdout).toBe('s1 is given connections again\n')
  expect((await host.run('rebalance')).stdout).toBe('asked 12 connections to move, each at its next request\n')
  expect((await host.run('rebalance', '--json')).stdout).toBe('{"asked":12}\n')
  expect(gateway.orders).toEqual(['undrain s1', 'rebalance', 'rebalance'])
})

test('move', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  expect(await host.run('move', firstFlow, 's2')).toEqual({
    code: 0,
    stdout: `${firstFlow} is at s2, after 1 ms\n`,
    stderr: '',
  })
  gateway.outcome = async () => ({
    result: 'rolled-back',
    handoff: 9,
    failure: { reason: 'accept-timeout', text: 's2 did not answer' },
    times: { total: 2_000_000 },
  })
  expect(await host.run('move', firstFlow, 's2', '--json')).toEqual({
    code: 1,
    stdout:
      '{"result":"rolled-back","handoff":9,"failure":{"reason":"accept-timeout","text":"s2 did not answer"},"times":{"total":2000000}}\n',
    stderr: `xoffload: ${firstFlow} stays where it was: s2 did not answer (accept-timeout)\n`,
  })
  expect((await host.run('move', 'somebody', 's2')).stderr).toBe(
    'xoffload: expected a flow such as 192.0.2.7:40312-198.51.100.1:80, found "somebody"\n',
  )
})

test('what the gateway refuses is said in its words', async () => {
  const gateway = new FakeGateway()
  await using host = await withGateway(gateway)
  const unknown = { code: 1, stdout: '', stderr: 'xoffload: no server s9 is configured\n' }
  expect(await host.run('drain', 's9')).toEqual(unknown)
  expect(await host.run('undrain', 's9')).toEqual(unknown)
  gateway.refuse = () => {
    throw new OrderError('busy', 'the connection is moving already')
  }
  expect((await host.run('move', firstFlow, 's2')).stderr).toBe('xoffload: the connection is moving already\n')
})

test('events, until the gateway ends', async () => {
  const gateway = new FakeGateway()
  const host = await withGateway(gateway)
  const listening = gateway.listeners.size
  const [text, json] = [host.begin('events'), host.begin('events', '--json')]
  await until(() => gateway.listeners.size === listening + 2)
  gateway.emit({ type: 'handoff', handoff: handoff(0) })
  gateway.emit({ type: 'ended', flow: flowOf(0), server: 's1' })
  gateway.emit({ type: 'server-down', server: 's2' })
  gateway.emit({ type: 'drain', server: 's1', remaining: 4 })
  await host.close()
  expect((await text.stdout.text()).split('\n').map((line) => line.replace(/^\S+Z {2}/, ''))).toEqual([
    `${firstFlow} gateway > s1: handed-off after 1 ms`,
    `${firstFlow} at s1: ended`,
    's2: down',
    's1: 4 connections left',
    '',
  ])
  expect(await text.stderr.text()).toBe('the gateway has ended\n')
  expect(await text.exited).toBe(0)
  const lines = (await json.stdout.text()).trim().split('\n')
  expect(lines.map((line) => JSON.parse(line).type)).toEqual(['handoff', 'ended', 'server-down', 'drain'])
})

test('no gateway: none there, none any more', async () => {
  expect((await run(['servers', '--api', `unix:${folder}/none`])).stderr).toBe(
    'xoffload: no gateway is running at unix:<folder>/none: there is no such socket; has its configuration an [api] section?\n',
  )
  expect((await run(['servers', '--api', `unix:${folder}/token`])).stderr).toBe(
    'xoffload: no gateway is running at unix:<folder>/token: nobody listens there\n',
  )
  const { code, stderr } = await run(['servers', '--api', 'http://127.0.0.1:1'])
  expect([code, stderr]).toEqual([1, 'xoffload: no gateway is running at http://127.0.0.1:1: nobody listens there\n'])
})

test('a socket of another user', async () => {
  await using host = await withGateway(new FakeGateway())
  chmodSync(host.socket, 0)
  const asSomebody = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups'] : []
  const command = [...asSomebody, process.execPath, program, 'servers', '--api', `unix:${host.socket}`]
  const child = Bun.spawn(command, { stderr: 'pipe' })
  expect(await child.stderr.text()).toBe(
    `xoffload: permission denied for unix:${host.socket}: only the user that the gateway runs as can use it\n`,
  )
  expect(await child.exited).toBe(1)
})

test('something else that listens there', async () => {
  using other = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('<html>', { status: 200 }) })
  const api = `http://127.0.0.1:${other.port}`
  expect((await run(['servers', '--api', api])).stderr).toBe(
    `xoffload: what listens on ${api} is no xoffload gateway, or one of another version: it does not answer in JSON\n`,
  )
  using third = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => Response.json({ servers: 1 }) })
  expect((await run(['servers', '--api', `http://127.0.0.1:${third.port}`])).stderr).toContain(
    'its answer to /v1/servers',
  )
})

test('with a token, from its file or the configuration; a proxy in the environment never sees it', async () => {
  let proxied = 0
  using proxy = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch() {
      proxied++
      return new Response()
    },
  })
  const environment = { HTTP_PROXY: `http://127.0.0.1:${proxy.port}`, http_proxy: `http://127.0.0.1:${proxy.port}` }
  const config = { listen: { address: '127.0.0.1', port: 0 }, token: join(folder, 'token') }
  const server = await serveApi(new FakeGateway(), config, { onError: console.error })
  const ask = (...args: string[]) => run(['servers', '--json', ...args], environment)

  expect((await ask('--api', server.address, '--token-file', join(folder, 'token'))).code).toBe(0)
  expect((await ask('--api', server.address)).stderr).toBe(
    `xoffload: the gateway at ${server.address} asks for a token: name its file with --token-file\n`,
  )
  writeFileSync(join(folder, 'wrong'), `${token}x`, { mode: 0o600 })
  expect((await ask('--api', server.address, '--token-file', join(folder, 'wrong'))).stderr).toBe(
    `xoffload: the gateway at ${server.address} does not accept this token\n`,
  )
  expect((await ask('--api', server.address, '--token-file', join(folder, 'absent'))).stderr).toBe(
    'xoffload: the token file <folder>/absent cannot be read: there is no such file\n',
  )
  const port = new URL(server.address).port
  writeFileSync(join(folder, 'tcp.toml'), `${gatewayToml}\n[api]\nlisten = "127.0.0.1:${port}"\ntoken = "token"\n`)
  expect((await ask('-c', join(folder, 'tcp.toml'))).code).toBe(0)
  expect(proxied).toBe(0)
  await server.close()
})

test('the address from the configuration of the gateway', async () => {
  await using host = await withGateway(new FakeGateway())
  writeFileSync(join(folder, 'gateway.toml'), `${gatewayToml}\n[api]\nlisten = "unix:${host.socket}"\n`)
  expect((await run(['servers', '-c', join(folder, 'gateway.toml')])).code).toBe(0)
  writeFileSync(join(folder, 'no-api.toml'), gatewayToml)
  expect((await run(['servers', '-c', join(folder, 'no-api.toml')])).stderr).toBe(
    'xoffload: <folder>/no-api.toml has no [api] section: the gateway serves no control API\n',
  )
})

test.each([
  [
    ['servers', '--api', 'http://10.0.0.1:7901'],
    '--api: expected unix:PATH or a loopback address such as http://127.0.0.1:7901, found "http://10.0.0.1:7901"',
  ],
  [['servers', '--api', 'unix:/a', '-c', 'b.toml'], 'expected either --api or --config, found both'],
  [['drain', 's1', '--timeout', '1.5'], '--timeout: expected a whole number from 1 to 86400, found "1.5"'],
  [['flows', '--limit', '0'], '--limit: expected a whole number from 1 to 1000000000, found "0"'],
])('%j is refused', async (args, message) => {
  expect(await run(args)).toEqual({ code: 1, stdout: '', stderr: `xoffload: ${message}\n` })
})
