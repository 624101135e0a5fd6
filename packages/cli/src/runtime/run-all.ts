/**
 * Runs every step, one after the other, whatever happens to those before it: for undoing things. Throws `cause` when there is one,
 * else the only error of a step, else an `AggregateError` of all.
 */
export async function runAll(steps: readonly (() => void | Promise<void>)[], cause?: unknown): Promise<void> {
  const errors: unknown[] = cause === undefined ? [] : [cause]
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 1 && cause === undefined) throw new AggregateError(errors, 'several things could not be undone')
  if (errors.length > 0) throw errors[0]
}
