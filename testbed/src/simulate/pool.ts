import { TestbedError } from '../errors.ts'
import type { SimulateOptions } from './options.ts'
import { addTotals, MAXIMUM_FAILURES, noTotals, type Totals } from './totals.ts'
import type { Block } from './worker.ts'

/** Seeds that a worker runs without asking for more: a fraction of a second. */
const BLOCK = 250

/** Runs the seeds on all processors. `onProgress` is called with what is known so far. */
export async function runSeeds(options: SimulateOptions, onProgress: (totals: Totals) => void): Promise<Totals> {
  const totals = noTotals()
  const deadline = performance.now() + options.minutes * 60_000
  let next = options.seed
  const end = options.seed + options.seeds
  const enough = (): boolean => {
    const wanted = options.sabotage === undefined ? MAXIMUM_FAILURES : 1
    return next >= end || performance.now() >= deadline || totals.failures.length >= wanted
  }
  const take = (): Block | undefined => {
    if (enough()) return undefined
    const block = { seed: next, count: Math.min(BLOCK, end - next), sabotage: options.sabotage }
    next += block.count
    return block
  }
  const workers = Array.from({ length: navigator.hardwareConcurrency }, () =>
    work(take, (part) => {
      addTotals(totals, part)
      onProgress(totals)
    }),
  )
  await Promise.all(workers)
  totals.failures.sort((one, other) => one.seed - other.seed)
  return totals
}

/** One worker, until there is nothing to take any more. */
async function work(take: () => Block | undefined, give: (totals: Totals) => void): Promise<void> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url))
  try {
    for (let block = take(); block !== undefined; block = take()) give(await ask(worker, block))
  } finally {
    worker.terminate()
  }
}

function ask(worker: Worker, block: Block): Promise<Totals> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Totals>) => resolve(data)
    worker.onerror = ({ message }) => {
      reject(
        new TestbedError(`seeds ${block.seed} to ${block.seed + block.count - 1}: the simulation failed: ${message}`),
      )
    }
    worker.postMessage(block)
  })
}
