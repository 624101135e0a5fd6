import { type ConformanceCase, caseId } from './case.ts'
import { conformanceCases } from './cases/index.ts'
import type { DeviceUnderTest } from './device.ts'
import { Absent, ConformanceFailure } from './failure.ts'
import { groupBy } from './group-by.ts'
import type { ConformanceResult } from './report.ts'
import { type Limits, Scene } from './scene.ts'
import { within } from './time.ts'

/** Registers one test: that of `bun:test`, `node:test` or vitest. The time limit, in milliseconds, is for runners that have one. */
export type RegisterTest = (name: string, body: () => Promise<void>, timeLimit?: number) => unknown

/** Registers what `body` registers, under a common name. */
export type RegisterGroup = (name: string, body: () => void) => unknown

export interface RedirectorSuiteOptions {
  /** The redirector, in names of tests and in the table: `tc`, `tc + cx`. */
  readonly name: string
  readonly test: RegisterTest
  /** Without it a test's name starts with those of the redirector and the group. */
  readonly describe?: RegisterGroup
  /** A fresh device for each test. */
  readonly factory: () => DeviceUnderTest | Promise<DeviceUnderTest>
  /**
   * What the redirector does not do though its manifest does not say so: by test (`group: name`), with the reason. Such a test runs
   * too, or one that proves the absence, and an absence that is none fails it.
   */
  readonly absences?: Readonly<Record<string, string>>
  /** Called after each test: for a table ({@link conformanceTable}). */
  readonly onResult?: (result: ConformanceResult) => void
  /**
   * Milliseconds that one step may take (an operation, a frame, a counter), default 10,000, and a test, default 120,000. The most
   * rules that a test puts, default 10,000: of a test with fewer than it is meant for the result says so.
   */
  readonly limits?: Partial<Limits>
}

const DEFAULT_LIMITS: Limits = { step: 10_000, test: 120_000, rules: 10_000 }

/**
 * Registers one test for everything that a {@link Redirector} must do. Which parts it has is what its manifest says, and what it has not
 * is tested to be refused. Every test has a fresh device and closes what it opened. Nothing is ever skipped.
 *
 * Throws {@link ConformanceFailure} for an absence that names no test.
 */
export function redirectorSuite(options: RedirectorSuiteOptions): void {
  const { name, test, describe, absences = {} } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const known = new Set(conformanceCases.map(caseId))
  for (const absence of Object.keys(absences)) {
    if (!known.has(absence)) throw new ConformanceFailure(`"${absence}" is no test of this suite`)
  }
  const register = (each: ConformanceCase, title: string) =>
    // The runner's own limit must not come first: it would not free the device.
    test(title, () => runCase(each, options, limits), limits.test + 4 * limits.step)
  for (const [group, cases] of groupBy(conformanceCases, (each) => each.group)) {
    if (describe === undefined) for (const each of cases) register(each, `${name}: ${caseId(each)}`)
    else describe(`${name}: ${group}`, () => cases.forEach((each) => void register(each, each.name)))
  }
}

async function runCase(each: ConformanceCase, options: RedirectorSuiteOptions, limits: Limits): Promise<void> {
  const { group, name: test } = each
  const report = (outcome: ConformanceResult['outcome'], reason?: string) =>
    options.onResult?.({ redirector: options.name, group, test, outcome, ...(reason === undefined ? {} : { reason }) })
  const declared = options.absences?.[caseId(each)]
  try {
    const { absence, reduction } = await inScene(each, options, limits).catch((error: unknown): Finding => {
      if (declared === undefined || each.whenDeclaredAbsent !== undefined) throw error
      return { absence: declared, reduction: undefined }
    })
    if (declared !== undefined && absence === undefined) {
      throw new ConformanceFailure(`it is declared absent (${declared}), and passes: take it out of "absences"`)
    }
    if (absence === undefined) report('passed', reduction)
    else report('absent', absence)
  } catch (error) {
    report('failed', error instanceof Error ? error.message : String(error))
    throw error
  }
}

interface Finding {
  /** Why the redirector does not have what is tested; undefined when it has it. */
  readonly absence: string | undefined
  /** {@link Scene.reduction} */
  readonly reduction: string | undefined
}

/** Runs a case and ends its scene. */
async function inScene(
  each: ConformanceCase,
  { factory, absences }: RedirectorSuiteOptions,
  limits: Limits,
): Promise<Finding> {
  const scene = new Scene(await factory(), limits)
  let absence: string | undefined
  try {
    absence = await within('the test', limits.test, runIn(scene, each, absences?.[caseId(each)]))
  } catch (error) {
    // What the case has found out says more than what its end has.
    await scene.end().catch(() => {})
    throw error
  }
  await scene.end()
  return { absence, reduction: scene.reduction }
}

/** Resolves to the reason when what the case tests is absent, and to nothing when the redirector has it. `declared`: the factory's. */
async function runIn(scene: Scene, each: ConformanceCase, declared?: string): Promise<string | undefined> {
  if (each.opened !== false) await scene.open(each.request)
  const absence = each.absence?.(scene)
  if (absence !== undefined) {
    await each.whenAbsent?.(scene)
    return absence
  }
  if (declared !== undefined && each.whenDeclaredAbsent !== undefined) {
    await each.whenDeclaredAbsent(scene)
    return declared
  }
  try {
    await each.run(scene)
  } catch (error) {
    if (error instanceof Absent) return error.message
    throw error
  }
  return undefined
}
