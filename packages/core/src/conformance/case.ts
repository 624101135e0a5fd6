import type { RedirectorRequest } from './device.ts'
import type { Scene } from './scene.ts'

/** One thing that a redirector must do. */
export interface ConformanceCase {
  readonly group: string
  readonly name: string
  /** Whether the redirector is opened before. Default true. */
  readonly opened?: boolean
  /** What is asked of the factory for the redirector that is opened. */
  readonly request?: RedirectorRequest
  /** Why this redirector need not do it, as its manifest or its factory says; undefined when it must. Called after it was opened. */
  absence?(scene: Scene): string | undefined
  /** Proves that what is absent is refused. Without it the absence is only named. */
  whenAbsent?(scene: Scene): Promise<void>
  /** Proves an absence that the factory has declared. Without it {@link run} must fail, which may take as long as its steps may. */
  whenDeclaredAbsent?(scene: Scene): Promise<void>
  run(scene: Scene): Promise<void>
}

/** A case without its group. */
export type GroupedCase = Omit<ConformanceCase, 'group'>

export function group(name: string, cases: readonly GroupedCase[]): readonly ConformanceCase[] {
  return cases.map((each) => ({ ...each, group: name }))
}

/** `group: name`, which no other case has. */
export function caseId({ group, name }: ConformanceCase): string {
  return `${group}: ${name}`
}

export const FAMILIES = [4, 6] as const
