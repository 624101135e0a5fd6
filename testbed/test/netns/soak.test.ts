/** Handoffs in all directions, under load and over bad links, and the proof that the soak would notice what goes wrong. */
import { expect, test } from 'bun:test'
import { isRight } from '../../src/soak/report.ts'
import { runSoak, type SoakOptions } from '../../src/soak/run.ts'

const HANDOFFS = 10_000
const options: SoakOptions = { handoffs: HANDOFFS, seed: 1, connections: 64, seconds: 240 }

test('10,000 handoffs: no byte is wrong, no connection ends that should not, and nothing is left', async () => {
  const result = await runSoak(options)
  expect([result.failures, result.problems]).toEqual([[], []])
  const { handoffs, resumed, faults } = result
  for (const direction of ['gateway-to-server', 'server-to-server', 'server-to-gateway']) {
    expect(handoffs.get(`${direction} handed-off`) ?? 0).toBeGreaterThan(HANDOFFS / 40)
  }
  expect(resumed).toBeGreaterThan(HANDOFFS / 1000)
  for (const count of Object.values(faults)) expect(count).toBeGreaterThan(0)
}, 300_000)

test('a gateway that does not steer any more is noticed', async () => {
  const result = await runSoak({
    ...options,
    handoffs: 400,
    seconds: 60,
    sabotage: async ({ testbed }) => {
      const gateway = testbed.host('gateway')
      await gateway.run(['tc', 'filter', 'del', 'dev', gateway.device, 'ingress'])
    },
  })
  expect(isRight(result)).toBe(false)
  expect(result.failures.length).toBeGreaterThan(0)
  // A handoff that was under way may have noticed it itself.
  expect(result.failures.some(({ history }) => history.join().includes('"outcome":"handed-off"'))).toBe(true)
}, 120_000)
