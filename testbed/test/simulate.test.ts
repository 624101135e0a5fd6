import { describe, expect, test } from 'bun:test'
import { TestbedError } from '../src/errors.ts'
import { parseOptions, type SimulateOptions } from '../src/simulate/options.ts'
import { runSeeds } from '../src/simulate/pool.ts'

describe('npm run simulate', () => {
  test('understands its options', () => {
    expect(parseOptions(['--help'])).toBeUndefined()
    expect(parseOptions([])).toMatchObject({ seed: 1, seeds: 10_000, replay: false, sabotage: undefined })
    expect(parseOptions(['--seed', '42'])).toMatchObject({ seed: 42, replay: true })
    expect(parseOptions(['--seed', '42', '--seeds', '5'])).toMatchObject({ seed: 42, seeds: 5, replay: false })
    expect(parseOptions(['--minutes', '3'])).toMatchObject({ minutes: 3, seeds: 2 ** 40, replay: false })
    expect(parseOptions(['--break', 'skip-lock'])).toMatchObject({ sabotage: 'skip-lock' })
  })

  test.each([
    [['--seeds', '0']],
    [['--seed', '-1']],
    [['--minutes', 'x']],
    [['--break', 'all']],
    [['--what']],
    [['more']],
  ])('refuses %p', (args) => {
    expect(() => parseOptions(args)).toThrow(TestbedError)
  })

  test('runs every seed once, on workers, and says which one fails', async () => {
    const options = parseOptions(['--seeds', '300']) as SimulateOptions
    const progress: number[] = []
    const totals = await runSeeds(options, ({ seeds }) => progress.push(seeds))
    expect(totals.failures).toEqual([])
    expect([totals.seeds, progress.at(-1), progress.length]).toEqual([300, 300, 2])
    expect(totals.outcomes.get('gateway-to-server handed-off')).toBeGreaterThan(50)
    const broken = await runSeeds({ ...options, sabotage: 'skip-lock' }, () => {})
    expect(broken.failures.length).toBeGreaterThan(0)
    expect(broken.failures[0]).toMatchObject({ violation: expect.stringContaining('invariant') })
  }, 60_000)
})
