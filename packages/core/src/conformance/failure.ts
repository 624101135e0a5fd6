import { RedirectorError, type RedirectorErrorCode, XoffloadError } from '../errors.ts'

/** The redirector does not do what the suite asks for. The message says what was expected and what was found. */
export class ConformanceFailure extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('CONFORMANCE', message, options)
  }
}

/** Thrown within a case: the redirector has refused, as it may, what the case is about. It has no other use. */
export class Absent extends Error {}

/** Throws {@link ConformanceFailure} with `message` unless the condition holds. */
export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new ConformanceFailure(message)
}

/** Compares numbers, strings, booleans and the like. Throws {@link ConformanceFailure}. */
export function equal<T extends string | number | bigint | boolean | undefined>(actual: T, expected: T, what: string) {
  check(actual === expected, `${what}: expected ${expected}, found ${actual}`)
}

/** Compares as sets. Throws {@link ConformanceFailure} with what is missing and what is too many. */
export function sameMembers(actual: readonly string[], expected: readonly string[], what: string): void {
  const missing = without(expected, actual)
  const unexpected = without(actual, expected)
  if (missing.length + unexpected.length === 0) return
  throw new ConformanceFailure(`${what}: missing ${sample(missing)}; not expected ${sample(unexpected)}`)
}

/** What is left of `members` when each member of `others` has cancelled one equal to it. */
function without(members: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const other of others) counts.set(other, (counts.get(other) ?? 0) + 1)
  return members.filter((member) => {
    const count = counts.get(member) ?? 0
    counts.set(member, count - 1)
    return count <= 0
  })
}

function sample(members: readonly string[]): string {
  if (members.length === 0) return 'nothing'
  const more = members.length > 3 ? ` and ${members.length - 3} more` : ''
  return members.slice(0, 3).join(', ') + more
}

/** Resolves to the {@link RedirectorError} that the operation rejects with. Throws {@link ConformanceFailure} for anything else. */
export async function refused(
  operation: Promise<unknown>,
  reasons: RedirectorErrorCode | readonly RedirectorErrorCode[],
  what: string,
): Promise<RedirectorError> {
  const error = await rejection(operation, what)
  const allowed = typeof reasons === 'string' ? [reasons] : reasons
  const expected = `a RedirectorError with reason ${allowed.join(' or ')}`
  if (!(error instanceof RedirectorError)) {
    throw new ConformanceFailure(`${what}: expected ${expected}, it rejects with ${error}`, { cause: error })
  }
  check(
    allowed.includes(error.reason),
    `${what}: expected ${expected}, its reason is ${error.reason}: ${error.message}`,
  )
  check(error.message !== '', `${what}: the error has no message`)
  return error
}

/** Checks that the operation rejects with the very reason of an abort. Throws {@link ConformanceFailure}. */
export async function abortedWith(operation: Promise<unknown>, reason: unknown, what: string): Promise<void> {
  const error = await rejection(operation, what)
  if (error !== reason) {
    throw new ConformanceFailure(`${what}: expected the reason of the abort, it rejects with ${error}`, {
      cause: error,
    })
  }
}

async function rejection(operation: Promise<unknown>, what: string): Promise<unknown> {
  let value: unknown
  try {
    value = await operation
  } catch (error) {
    return error
  }
  throw new ConformanceFailure(`${what}: expected it to reject, it resolves to ${String(value)}`)
}
