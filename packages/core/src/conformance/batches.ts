/** Operations in flight at a time: enough to fill any queue, and a bound all the same. */
const WIDTH = 256

/** Runs the operation for every item, {@link WIDTH} at a time, begun in order. */
export async function inBatches<T>(items: readonly T[], operation: (item: T) => Promise<unknown>): Promise<void> {
  for (let first = 0; first < items.length; first += WIDTH) {
    await Promise.all(items.slice(first, first + WIDTH).map(operation))
  }
}
