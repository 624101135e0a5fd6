import { ConformanceFailure } from './failure.ts'

/** Waits until the condition holds, for at most `limit` milliseconds. Throws {@link ConformanceFailure}. */
export async function eventually(
  what: string,
  limit: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + limit
  while (!(await condition())) {
    if (performance.now() > deadline) throw new ConformanceFailure(`it has not happened within ${limit} ms: ${what}`)
    await pause(1)
  }
}

/** Settles as the promise does, or rejects with {@link ConformanceFailure} when that takes longer than `limit` milliseconds. */
export async function within<T>(what: string, limit: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ConformanceFailure(`${what} has not ended after ${limit} ms`)), limit)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
