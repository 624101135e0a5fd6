/** Runs blocks of seeds, each as it is asked for. */
import { type Sabotage, simulate } from '@xoffload/core/simulation'
import { addReport, noTotals, type Totals } from './totals.ts'

/** A block of seeds. */
export interface Block {
  readonly seed: number
  readonly count: number
  readonly sabotage: Sabotage | undefined
}

declare const self: Worker

self.onmessage = async ({ data }: MessageEvent<Block>) => {
  self.postMessage(await run(data))
}

async function run({ seed, count, sabotage }: Block): Promise<Totals> {
  const totals = noTotals()
  for (let one = seed; one < seed + count; one++) addReport(totals, await simulate(one, { sabotage }))
  return totals
}
