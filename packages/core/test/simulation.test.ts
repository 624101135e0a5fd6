import { describe, expect, test } from 'bun:test'
import { SABOTAGES, type SimulationReport, simulate } from '../src/simulation/index.ts'

/** Enough for every direction, every kind of crash and every outcome; a few seconds. */
const SEEDS = 2500
/** Within so many seeds each way to break an invariant is to be found. */
const SABOTAGE_SEEDS = 10_000
const TIMEOUT = 120_000

function total(reports: SimulationReport[], part: 'outcomes' | 'connections', key: string): number {
  return reports.reduce((sum, report) => sum + (report[part].get(key) ?? 0), 0)
}

describe('the simulation', () => {
  test(
    `finds nothing wrong in ${SEEDS} schedules, in which everything happens`,
    async () => {
      const reports: SimulationReport[] = []
      for (let seed = 1; seed <= SEEDS; seed++) {
        const report = await simulate(seed)
        reports.push(report)
        const command = `npm run simulate -- --seed ${seed}`
        expect({ command, violations: report.violations }).toEqual({ command, violations: [] })
      }
      for (const direction of ['gateway-to-server', 'server-to-gateway', 'server-to-server']) {
        expect(total(reports, 'outcomes', `${direction} handed-off`)).toBeGreaterThan(100)
        expect(total(reports, 'outcomes', `${direction} rolled-back`)).toBeGreaterThan(10)
      }
      expect(total(reports, 'outcomes', 'gateway-to-server lost')).toBeGreaterThan(10)
      for (const end of ['open', 'closed', 'reset', 'aborted']) {
        expect(total(reports, 'connections', end)).toBeGreaterThan(50)
      }
      expect(reports.reduce((sum, { crashes }) => sum + crashes, 0)).toBeGreaterThan(300)
    },
    TIMEOUT,
  )

  test('does the same for the same seed, step by step', async () => {
    for (const seed of [7, 4242, 2 ** 40 + 1]) {
      const traces: string[][] = [[], []]
      for (const trace of traces) await simulate(seed, { trace: (line) => void trace.push(line) })
      expect(traces[0]?.length).toBeGreaterThan(20)
      expect(traces[0]).toEqual(traces[1] as string[])
    }
    expect((await simulate(7)).packets).not.toBe((await simulate(8)).packets)
  })

  test.each(SABOTAGES)(
    `finds within ${SABOTAGE_SEEDS} schedules: %s`,
    async (sabotage) => {
      for (let seed = 1; seed <= SABOTAGE_SEEDS; seed++) {
        const { violations } = await simulate(seed, { sabotage })
        if (violations.length > 0) return
      }
      throw new Error(`${sabotage} was not found`)
    },
    TIMEOUT,
  )
})
