import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  consistentHash,
  custom,
  leastConnections,
  propertyReader,
  roundRobin,
  type SelectionRequest,
  type ServerSelector,
  type ServerState,
} from '../src/index.ts'

function request(target: string, headers: Record<string, string> = {}, address = '192.0.2.1'): SelectionRequest {
  return { method: 'GET', target, header: (name) => headers[name.toLowerCase()], client: { address, port: 40000 } }
}

function servers(count: number, down: readonly number[] = []): ServerState[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `server-${index + 1}`,
    up: !down.includes(index),
    connections: 0,
  }))
}

const anyRequest = request('/')

describe('every selector', () => {
  const selectors: [string, () => ServerSelector][] = [
    ['roundRobin', roundRobin],
    ['leastConnections', leastConnections],
    ['consistentHash', () => consistentHash({ property: 'path' })],
    ['custom', () => custom((_request, [first]) => first)],
  ]

  test.each(selectors)('%s picks a server that is up, and none only when none is', (_name, make) => {
    const list = fc.array(fc.record({ up: fc.boolean(), connections: fc.nat(5) }), { maxLength: 8 })
    fc.assert(
      fc.property(fc.array(fc.tuple(list, fc.webPath()), { maxLength: 10 }), (calls) => {
        const select = make()
        for (const [states, path] of calls) {
          const all = states.map((state, index) => ({ ...state, name: `s${index}` }))
          const picked = select(request(path || '/'), all)
          if (picked) expect(picked.up && all.includes(picked)).toBe(true)
          else expect(all.some((server) => server.up)).toBe(false)
        }
      }),
    )
  })
})

describe('round robin', () => {
  test('takes turns', () => {
    const select = roundRobin()
    const list = servers(4, [1])
    const names = Array.from({ length: 6 }, () => select(anyRequest, list)?.name)
    expect(names).toEqual(['server-1', 'server-3', 'server-4', 'server-1', 'server-3', 'server-4'])
  })
})

describe('least connections', () => {
  test('takes the fewest, and turns among equals', () => {
    const select = leastConnections()
    const list = [3, 1, 2, 1].map((connections, index) => ({ name: `s${index}`, up: true, connections }))
    expect([1, 2, 3].map(() => select(anyRequest, list)?.name)).toEqual(['s1', 's3', 's1'])
  })

  test('fills evenly when every pick becomes a connection', () => {
    const select = leastConnections()
    const list = [5, 0, 2].map((connections, index) => ({ name: `s${index}`, up: true, connections }))
    for (let count = 0; count < 20; count++) {
      const picked = select(anyRequest, list)
      if (picked) picked.connections += 1
    }
    expect(list.map((server) => server.connections)).toEqual([9, 9, 9])
  })
})

describe('consistent hash', () => {
  const select = consistentHash({ property: 'path' })
  const paths = Array.from({ length: 20_000 }, (_, index) => `/bucket/object-${index}`)
  const placement = (list: ServerState[]): (string | undefined)[] =>
    paths.map((path) => select(request(path), list)?.name)

  test.each([2, 4, 7, 32])('spreads evenly over %d servers', (count) => {
    const counts = new Map<string, number>()
    for (const name of placement(servers(count))) counts.set(name ?? '', (counts.get(name ?? '') ?? 0) + 1)
    const mean = paths.length / count
    expect(counts.size).toBe(count)
    // Five standard deviations of a fair choice.
    const allowed = 5 * Math.sqrt(mean * (1 - 1 / count))
    for (const value of counts.values()) expect(Math.abs(value - mean)).toBeLessThan(allowed)
  })

  test('moves only the values of the server that goes, evenly to the others, and the same ones back', () => {
    const before = placement(servers(8))
    const after = placement(servers(8, [2]))
    const heirs = new Map<string, number>()
    for (const [index, name] of before.entries()) {
      const now = after[index] ?? ''
      if (name !== 'server-3') expect(now).toBe(name ?? '')
      else heirs.set(now, (heirs.get(now) ?? 0) + 1)
    }
    const mean = paths.length / 8 / 7
    expect(heirs.size).toBe(7)
    for (const value of heirs.values()) expect(Math.abs(value - mean)).toBeLessThan(5 * Math.sqrt(mean))
    expect(placement(servers(8))).toEqual(before)
  })

  test('a server that is added takes values from the others and moves nothing among them', () => {
    const before = placement(servers(8))
    for (const [index, now] of placement(servers(9)).entries()) {
      if (now !== 'server-9') expect(now).toBe(before[index] ?? '')
    }
  })

  test('does not depend on the order of the list or on the instance', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(servers(6), { minLength: 6 }), fc.webPath(), (list, path) => {
        const other = consistentHash({ property: 'path' })
        expect(other(request(path), list)?.name).toBe(select(request(path), servers(6))?.name as string)
      }),
    )
  })

  test('a request without the property is left to the other selector', () => {
    const withHeader = consistentHash({ property: { header: 'X-Key' } })
    const list = servers(3)
    expect([1, 2, 3].map(() => withHeader(anyRequest, list)?.name)).toEqual(['server-1', 'server-2', 'server-3'])
    const keyed = [1, 2, 3].map(() => withHeader(request('/', { 'x-key': 'a' }), list)?.name)
    expect(new Set(keyed).size).toBe(1)
  })
})

test.each([
  ['path', 'path', request('/a/b?c=/d'), '/a/b'],
  ['path of the absolute form', 'path', request('http://host/a?b'), '/a'],
  ['path of the absolute form without one', 'path', request('http://host'), '/'],
  ['path with a URL in it', 'path', request('/a/http://b'), '/a/http://b'],
  ['client', 'client', anyRequest, '192.0.2.1'],
  ['header', { header: 'Host' }, request('/', { host: 'h' }), 'h'],
  ['cookie', { cookie: 'id' }, request('/', { cookie: 'xid=1; id=2=3; id=4' }), '2=3'],
  ['absent cookie', { cookie: 'id' }, request('/', { cookie: 'a=1; idle' }), undefined],
  ['no cookie field', { cookie: 'id' }, anyRequest, undefined],
  ['function', (one: SelectionRequest) => one.method, anyRequest, 'GET'],
] as const)('reads the property: %s', (_name, property, from, expected) => {
  expect(propertyReader(property)(from)).toBe(expected as string)
})

test('an empty name is refused when the selector is made', () => {
  expect(() => consistentHash({ property: { cookie: '' } })).toThrow('must not be empty')
})

describe('custom', () => {
  test('sees the servers that are up and answers with one or with a name', () => {
    const list = servers(3, [0])
    const seen: string[][] = []
    const select = custom((_request, available) => {
      seen.push(available.map((server) => server.name))
      return 'server-3'
    })
    expect(select(anyRequest, list)).toBe(list[2] as ServerState)
    expect(seen).toEqual([['server-2', 'server-3']])
  })

  test('errors say whose they are', () => {
    expect(() => custom(() => 'server-1')(anyRequest, servers(2, [0]))).toThrow(
      '"server-1", which is no server that is up',
    )
    const failing = custom(() => {
      throw new Error('boom')
    })
    expect(() => failing(anyRequest, servers(1))).toThrow('the select function threw')
  })
})
