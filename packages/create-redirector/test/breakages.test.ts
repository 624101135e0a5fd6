// The suite can fail: each of these redirectors is the example with one thing broken.
import { describe, expect, test } from 'bun:test'
import { device } from '../template/test/device.ts'
import { breakages } from './support/breakages.ts'
import { packetBreakages } from './support/packet-breakages.ts'
import { runSuite } from './support/run-suite.ts'

describe.each([
  ['rules', breakages],
  ['packets', packetBreakages],
] as const)('broken %s', (_, list) => {
  test.each(list.map((breakage) => [breakage.what, breakage] as const))(
    '%s',
    async (_what, { caughtBy, breaks }) => {
      const whole = await runSuite(device, caughtBy)
      expect(whole.map(({ outcome }) => outcome)).toEqual(whole.map(() => 'passed'))
      const broken = await runSuite(() => breaks(device()), caughtBy)
      expect(broken.length).toBeGreaterThan(0)
      expect(broken.map(({ outcome }) => outcome)).toContain('failed')
    },
    30_000,
  )
})
