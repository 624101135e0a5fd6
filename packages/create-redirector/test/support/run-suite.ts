import { type ConformanceResult, type DeviceUnderTest, redirectorSuite } from '@xoffload/core/conformance'

/** Short, since what is broken on purpose may never happen. */
const LIMITS = { step: 1000, test: 20_000 }

/** Runs those tests of the suite whose name has the text, and resolves to how they went. */
export async function runSuite(
  factory: () => DeviceUnderTest,
  only: string,
  absences: Readonly<Record<string, string>> = {},
): Promise<ConformanceResult[]> {
  const results: ConformanceResult[] = []
  const bodies: (() => Promise<void>)[] = []
  redirectorSuite({
    name: 'it',
    test: (name, body) => (name.includes(only) ? bodies.push(body) : 0),
    factory,
    absences,
    limits: LIMITS,
    onResult: (result) => results.push(result),
  })
  for (const body of bodies) {
    // A test that fails says so in its result.
    await body().catch(() => {})
  }
  return results
}
