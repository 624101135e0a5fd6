import { join } from 'node:path'
import { type Figure, Guest, median, TestbedError } from '@xoffload/testbed'
import type { FlowerResult } from './flower-program.ts'
import { RULE_METRICS, ruleFigures } from './rule-figures.ts'

const PROGRAM = join(import.meta.dir, 'flower-program.ts')
/** For all that the program does, in milliseconds. */
const TIMEOUT = 600_000

/**
 * Flower on the guest's kernel, in software and offloaded to the virtual NIC with the times of each card: the times of single rules, and
 * rules a second beside `tc -batch`, which has put the same filters in turn. Needs root and the guest.
 */
export async function measureFlower(): Promise<Figure[]> {
  await using guest = await Guest.start()
  const decoder = new TextDecoder()
  let output = ''
  await guest.run([process.execPath, PROGRAM], {
    timeout: TIMEOUT,
    onOutput(bytes, stream) {
      if (stream === 'stderr') process.stderr.write(bytes)
      else output += decoder.decode(bytes, { stream: true })
    },
  })
  const results = output.trim().split('\n').map(parse)
  return results.flatMap((result) => [...report(result)])
}

function parse(line: string): FlowerResult {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new TestbedError(`the program in the guest printed no result: ${line.slice(0, 200)}`, { cause })
  }
}

function* report({ name, reference, flows, rounds }: FlowerResult): Generator<Figure> {
  const common = { bench: 'rules', kernel: 'guest', ...(reference && { nic: reference }) }
  const times = rounds.map((round) => round.times)
  for (const figure of ruleFigures(times, reference)) yield { ...common, case: name, ...figure }
  for (const metric of RULE_METRICS) {
    const rate = { ...common, metric: `${metric}_rate`, unit: '1/s', flows, n: rounds.length }
    // Each round is compared with itself: the machine has better and worse times.
    const ratio = median(rounds.map(({ rate, tcRate }) => rate[metric] / tcRate[metric]))
    const to = 'tc-batch'
    yield { ...rate, case: name, value: median(rounds.map(({ rate }) => rate[metric])), ratio, to }
    yield { ...rate, case: to, value: median(rounds.map(({ tcRate }) => tcRate[metric])) }
  }
}
