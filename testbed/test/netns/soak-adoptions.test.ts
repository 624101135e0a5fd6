/** Stock nginx adopts connections without keeping anything of them, and the soak would notice if somebody did. */
import { expect, test } from 'bun:test'
import { type AdoptionSoakOptions, soakAdoptions } from '../../src/soak/adoptions/run.ts'
import { type Sample, trendsOf } from '../../src/soak/adoptions/trend.ts'

const options: Omit<AdoptionSoakOptions, 'adapter'> = { adoptions: 1000, seed: 1, connections: 32, seconds: 240 }

test.each(['preload', 'module'] as const)(
  '%s: 2,000 adoptions by two servers leave nothing behind',
  async (adapter) => {
    const { problems, trends, connections, requests } = await soakAdoptions({ ...options, adapter })
    expect(problems).toEqual([])
    // Connections have moved, and have stayed for more than one request.
    expect(connections).toBeLessThan(2 * options.adoptions)
    expect(requests).toBeGreaterThan(2 * options.adoptions)
    expect(new Set(trends.map(({ what }) => what)).size).toBe(5)
  },
  300_000,
)

test('what rises is noticed: a little for each adoption, or some descriptors', () => {
  const sample = (adoptions: number, heap: number, descriptors: number): Sample => ({
    adoptions,
    usage: new Map([['server1 agent', { memory: 100_000_000, heap, descriptors }]]),
  })
  const problems = (last: Sample) =>
    trendsOf([sample(5000, 20_000_000, 30), last]).flatMap(({ problem }) => problem ?? [])
  expect(problems(sample(100_000, 20_000_000, 30))).toEqual([])
  expect(problems(sample(100_000, 20_000_000, 43))).toEqual(['server1 agent: descriptors has risen from 30 to 43'])
  expect(problems(sample(100_000, 20_000_000 + 95_000 * 100, 30))).toHaveLength(1)
})
