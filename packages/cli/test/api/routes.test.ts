import { expect, test } from 'bun:test'
import { Value } from '@sinclair/typebox/value'
import { createApi } from '../../src/api/create-api.ts'
import { flowSchema, models, ruleSchema } from '../../src/api/schemas.ts'
import { OrderError } from '../../src/gateway/order-error.ts'
import { FakeGateway, firstFlow, handoff } from './fake-gateway.ts'

const move = `/v1/flows/${encodeURIComponent(firstFlow)}/move`
const jsonType = { 'content-type': 'application/json' }

/** An API, and a function that calls it. */
function api(gateway = new FakeGateway(), options: Parameters<typeof createApi>[1] = {}) {
  const app = createApi(gateway, options)
  const call = async (method: string, path: string, init: RequestInit = {}) => {
    const response = await app.handle(new Request(`http://gateway${path}`, { method, ...init }))
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json')
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
  }
  return { gateway, call }
}

const firstFlowJson = { flow: firstFlow, server: 's1', state: 'steered', age: 1500.5, moves: 1 }

test('servers: all, and one', async () => {
  const { call } = api()
  const s1 = { name: 's1', up: true, draining: false, connections: 2 }
  expect((await call('GET', '/v1/servers')).body).toEqual({
    gateway: 'gateway',
    servers: [s1, { name: 's2', up: false, draining: false, connections: 1 }],
  })
  expect((await call('GET', '/v1/servers/s1')).body).toEqual(s1)
})

test('drain, undrain and rebalance', async () => {
  const { call, gateway } = api()
  expect((await call('POST', '/v1/servers/s1/drain')).body).toMatchObject({ name: 's1', draining: true })
  expect((await call('DELETE', '/v1/servers/s1/drain')).body).toMatchObject({ name: 's1', draining: false })
  expect((await call('POST', '/v1/rebalance')).body).toEqual({ asked: 12 })
  expect(gateway.orders).toEqual(['drain s1', 'undrain s1', 'rebalance'])
})

test('flows: filtered by server and state, in pages', async () => {
  const { call } = api(new FakeGateway({ flows: 12 }))
  const flows = async (query: string) => {
    const { body } = await call('GET', `/v1/flows${query}`)
    return [body.flows.map(({ flow }: { flow: string }) => Number(/^10\.0\.0\.(\d+):/.exec(flow)?.[1])), body.next]
  }
  expect(await flows('')).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], null])
  expect(await flows('?server=s2&state=ended')).toEqual([[5, 11], null])
  expect(await flows('?server=nobody')).toEqual([[], null])
  expect(await flows('?limit=5')).toEqual([[0, 1, 2, 3, 4], 5])
  expect(await flows('?limit=5&offset=5')).toEqual([[5, 6, 7, 8, 9], 10])
  expect(await flows('?limit=5&offset=10')).toEqual([[10, 11], null])
  expect(await flows('?limit=2&offset=10')).toEqual([[10, 11], null])
  expect(await flows('?offset=12')).toEqual([[], null])
  expect(await flows('?server=s1&limit=1&offset=1')).toEqual([[2], 2])
})

test('a flow, with the counters of its rule when there is one', async () => {
  const { call } = api()
  expect((await call('GET', `/v1/flows/${firstFlow}`)).body).toEqual({
    ...firstFlowJson,
    counters: { packets: 3, bytes: 198, egressPackets: 1, lastSeen: 1500 },
  })
  const second = await call('GET', `/v1/flows/${encodeURIComponent(firstFlow.replace('10.0.0.0', '10.0.0.1'))}`)
  expect(second.body).toEqual({ ...firstFlowJson, flow: firstFlow.replace('10.0.0.0', '10.0.0.1'), server: 's2' })
})

test('rules', async () => {
  const { body } = await api().call('GET', '/v1/rules?limit=2')
  const counters = { packets: 3, bytes: 198, egressPackets: 1, lastSeen: 1500 }
  const target = { mode: 'l2', mac: '02:00:00:00:00:01' }
  expect(body).toEqual({
    rules: [
      { flow: firstFlow, action: 'steer', target, ended: false, counters },
      {
        flow: firstFlow.replace('10.0.0.0', '10.0.0.1'),
        action: 'hold',
        silent: false,
        counters: { ...counters, lastSeen: null },
      },
    ],
    next: 2,
  })
})

test('lists as lines, each of the schema that the document names', async () => {
  const { call } = api(new FakeGateway({ flows: 300 }))
  for (const [path, schema] of [
    ['/v1/flows', flowSchema],
    ['/v1/rules', ruleSchema],
  ] as const) {
    const { headers, body } = await call('GET', path, { headers: { accept: 'application/x-ndjson' } })
    expect(headers.get('content-type')).toBe('application/x-ndjson')
    const lines = body.split('\n')
    expect(lines.pop()).toBe('')
    expect(lines).toHaveLength(300)
    for (const line of lines) expect([...Value.Errors(schema, JSON.parse(line))]).toEqual([])
  }
})

test('streamed lists are of their schemas', async () => {
  const { call } = api(new FakeGateway({ flows: 300 }))
  const { Flows, Rules } = models
  expect([...Value.Errors(Flows, (await call('GET', '/v1/flows')).body)]).toEqual([])
  expect([...Value.Errors(Rules, (await call('GET', '/v1/rules')).body)]).toEqual([])
})

test('handoffs, the newest first, with step times and failures', async () => {
  const gateway = new FakeGateway()
  const failure = { reason: 'refused', text: 'too many', refusal: 'busy' } as const
  gateway.past = [handoff(2, { result: 'rolled-back', handoff: 8, failure, times: { lock: 5, total: 70 } }), handoff(1)]
  const { call } = api(gateway)
  const { body } = await call('GET', '/v1/handoffs')
  expect(body.handoffs).toEqual([
    {
      at: '2026-01-01T00:00:00.000Z',
      flow: '10.0.0.2:40000-198.51.100.1:80',
      direction: 'gateway-to-server',
      from: 'gateway',
      to: 's1',
      outcome: { result: 'rolled-back', handoff: 8, failure, times: { lock: 5, total: 70 } },
    },
    expect.objectContaining({
      outcome: { result: 'handed-off', handoff: 7, times: { lock: 12, commit: 401, total: 900 } },
    }),
  ])
  expect((await call('GET', '/v1/handoffs?limit=1')).body.handoffs).toHaveLength(1)
})

test('a move answers with its outcome', async () => {
  const { call, gateway } = api()
  const { status, body } = await call('POST', move, { headers: jsonType, body: '{"server":"s2"}' })
  expect([status, body]).toEqual([
    200,
    { result: 'handed-off', handoff: 7, times: { lock: 12, commit: 401, total: 900 } },
  ])
  expect(gateway.orders).toEqual(['move 10.0.0.0:40000>198.51.100.1:80 s2'])
})

/** A move that never comes to its end, but for its signal. */
function endless(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
}

test('a move that takes too long is given up', async () => {
  const { call, gateway } = api()
  gateway.outcome = endless
  const { status, body } = await call('POST', move, { headers: jsonType, body: '{"server":"s2","timeout":20}' })
  expect([status, body.error.code]).toEqual([504, 'timeout'])
  expect(body.error.message).toBe(
    `the flow ${firstFlow} came to no request boundary within 20 ms: it stays where it is`,
  )
})

test('a move is given up when its caller goes away, and when the API ends', async () => {
  for (const who of ['caller', 'api'] as const) {
    const ended = new AbortController()
    const { call, gateway } = api(new FakeGateway(), who === 'api' ? { signal: ended.signal } : {})
    gateway.outcome = (signal) => {
      queueMicrotask(() => ended.abort())
      return endless(signal)
    }
    const signal = who === 'caller' ? ended.signal : null
    const { body } = await call('POST', move, { headers: jsonType, body: '{"server":"s2"}', signal })
    expect(body.error.code).toBe(who === 'api' ? 'closing' : 'given-up')
  }
})

test.each([
  ['unknown-flow', 404],
  ['unknown-server', 404],
  ['busy', 409],
  ['server-down', 503],
  ['no-target', 409],
] as const)('an order refused with %s is answered with %i', async (reason, expected) => {
  const { call, gateway } = api()
  gateway.refuse = () => {
    throw new OrderError(reason, 'for this reason')
  }
  for (const path of ['/v1/servers/s1/drain', '/v1/rebalance', move]) {
    const { status, body } = await call('POST', path, { headers: jsonType, body: '{"server":"s2"}' })
    expect([status, body]).toEqual([expected, { error: { code: reason, message: 'for this reason' } }])
  }
})

test.each([
  ['GET', '/v1/servers/s3', 404, 'unknown-server', 'no server s3 is configured'],
  [
    'GET',
    `/v1/flows/${firstFlow.replace('10.', '11.')}`,
    404,
    'unknown-flow',
    'the gateway has no rule for the flow 11.0.0.0:40000-198.51.100.1:80',
  ],
  [
    'GET',
    '/v1/flows/1.2.3.4',
    400,
    'invalid',
    'path: id: expected a flow such as "192.0.2.7:40312-198.51.100.1:80", found "1.2.3.4"',
  ],
  [
    'GET',
    '/v1/servers/a%20b',
    400,
    'invalid',
    'path: name: expected a host name: at most 64 letters, digits, "-", "_" and ".", found "a b"',
  ],
  ['GET', '/v1/flows?limit=0', 400, 'invalid', 'query: limit: expected a whole number from 1 to 1000000000, found 0'],
  [
    'GET',
    '/v1/flows?limit=1e3',
    400,
    'invalid',
    'query: limit: expected a whole number from 1 to 1000000000, found "1e3"',
  ],
  ['GET', '/v1/flows?state=up', 400, 'invalid', 'query: state: expected "moving", "steered" or "ended", found "up"'],
  ['GET', '/v1/flows?colour=1', 400, 'invalid', 'query: colour: is not known here'],
  ['GET', '/v1/rules?server=s1', 400, 'invalid', 'query: server: is not known here'],
  ['GET', '/v1/nothing', 404, 'not-found', 'there is no such resource: see /openapi'],
  ['POST', '/v1/flows', 404, 'not-found', 'there is no such resource: see /openapi'],
])('%s %s is answered with %i %s', async (method, path, status, code, message) => {
  const answer = await api().call(method, path)
  expect([answer.status, answer.body]).toEqual([status, { error: { code, message } }])
})

test.each([
  ['{"server":7}', 'body: server: expected a host name: at most 64 letters, digits, "-", "_" and ".", found 7'],
  ['{}', 'body: server: is missing: expected a host name: at most 64 letters, digits, "-", "_" and "."'],
  ['{"server":"s1","timeout":0}', 'body: timeout: expected a whole number from 1 to 600000, found 0'],
  ['{"server":"s1","to":"s2"}', 'body: to: is not known here'],
  ['{', 'the body is no JSON'],
])('a move with the body %s is refused', async (body, message) => {
  const { call, gateway } = api()
  const answer = await call('POST', move, { headers: jsonType, body })
  expect([answer.status, answer.body]).toEqual([400, { error: { code: 'invalid', message } }])
  expect(gateway.orders).toEqual([])
})

test('an error that nobody foresaw is told to the owner of the API only', async () => {
  const errors: unknown[] = []
  const { call, gateway } = api(new FakeGateway(), { onError: (error) => errors.push(error) })
  const secret = new Error('a secret')
  gateway.refuse = () => {
    throw secret
  }
  const { status, body } = await call('POST', '/v1/rebalance')
  expect([status, body]).toEqual([
    500,
    { error: { code: 'internal', message: 'the gateway could not do it: see its log' } },
  ])
  expect(errors).toEqual([secret])
})

test('an answer that is not of its schema is an error of the gateway', async () => {
  const errors: unknown[] = []
  const { call, gateway } = api(new FakeGateway(), { onError: (error) => errors.push(error) })
  gateway.connections('s1', -1)
  expect((await call('GET', '/v1/servers')).status).toBe(500)
  expect(errors).toHaveLength(1)
})

const token = '0123456789abcdef'

test.each([
  [{ authorization: `Bearer ${token}` }, 200],
  [{ authorization: `bearer ${token}` }, 200],
  [{}, 401],
  [{ authorization: token }, 401],
  [{ authorization: 'Bearer' }, 401],
  [{ authorization: `Bearer ${token}0` }, 401],
  [{ authorization: `Bearer ${token.slice(1)}` }, 401],
  [{ authorization: `Basic ${token}` }, 401],
])('with a token, %j is answered with %i', async (headers, expected) => {
  const { call } = api(new FakeGateway(), { token })
  for (const path of ['/v1/servers', '/v1/flows', '/metrics']) {
    const {
      status,
      body,
      headers: answered,
    } = await call('GET', path, { headers: new Headers(headers as Record<string, string>) })
    expect(status).toBe(expected)
    if (expected === 200) continue
    expect(body).toEqual({ error: { code: 'unauthorized', message: 'the token is missing or wrong' } })
    expect(answered.get('www-authenticate')).toBe('Bearer')
  }
})

test('without the token nothing is ordered, and one cannot tell what there is', async () => {
  const { call, gateway } = api(new FakeGateway(), { token })
  expect((await call('POST', '/v1/servers/s1/drain')).status).toBe(401)
  expect((await call('GET', '/v1/nothing')).status).toBe(401)
  expect(gateway.orders).toEqual([])
})
