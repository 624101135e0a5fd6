import type { FlowKey, ListedRule, OperationOptions, PutOutcome, Redirector, Rule } from '../../src/index.ts'
import type { Random } from '../../src/simulation/index.ts'
import type { VirtualClock } from '../rule-queue/virtual-clock.ts'

/** A software redirector whose operations take their time, and whose lists are as old as a list may be. */
export function slowSoftware(inner: Redirector, clock: VirtualClock, random: Random): Redirector {
  const pause = (): Promise<void> => (random.chance(0.5) ? Promise.resolve() : clock.sleep(random.below(1000) / 1000))
  const slowly = async <T>(operation: () => Promise<T>): Promise<T> => {
    await pause()
    const result = await operation()
    await pause()
    return result
  }
  return {
    get manifest() {
      return inner.manifest
    },
    open: (options) => inner.open(options),
    close: () => inner.close(),
    release: () => inner.release(),
    put: (rule: Rule, options?: OperationOptions): Promise<PutOutcome> => slowly(() => inner.put(rule, options)),
    remove: (flow: FlowKey, options?: OperationOptions): Promise<boolean> => slowly(() => inner.remove(flow, options)),
    counters: (flow, options) => slowly(() => inner.counters(flow, options)),
    async *list(options): AsyncGenerator<ListedRule> {
      const listed = await Array.fromAsync(inner.list(options))
      for (const each of listed) {
        if (random.chance(0.05)) await clock.sleep(random.below(3000) / 1000)
        yield each
      }
    },
  }
}
