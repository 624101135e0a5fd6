/** `npm run demo`: see {@link usage}. */
import { XoffloadError } from '@xoffload/core'
import pc from 'picocolors'
import { TestbedError } from '../errors.ts'
import type { Testbed } from '../testbed.ts'
import { tool } from '../tools.ts'
import { fetchFirstResponse } from './first-response.ts'
import { createTestbed, type Installation, install } from './installation.ts'
import { LiveLine } from './live-line.ts'
import { saveLogs } from './logs.ts'
import { measure, type Progress, sizes } from './measurement.ts'
import { type DemoOptions, parseOptions, usage } from './options.ts'
import { bytes, printFigures, printFirstResponse, printFirstResponseFigures, printTable } from './print.ts'

const liveLine = new LiveLine()

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args)
  if (options === undefined) {
    console.log(usage)
    return
  }
  for (const name of ['nginx', 'wrk', 'curl']) tool(name)
  await using testbed = await createTestbed()
  try {
    await run(testbed, options)
  } catch (error) {
    liveLine.clear()
    // A signal has ended the programs and ends this one, too, as soon as nothing is left.
    if (testbed.closing) await new Promise(() => undefined)
    console.error(pc.dim(`What the programs said is in ${saveLogs(testbed)}`))
    throw error
  }
}

async function run(testbed: Testbed, options: DemoOptions): Promise<void> {
  liveLine.show('starting a gateway, four servers and nginx')
  const installation = await install(testbed)
  const response = await fetchFirstResponse(installation, sizes[1])
  liveLine.clear()
  if (options.json) printFirstResponseFigures(response)
  else printFirstResponse(response)
  const measurements = await measure(installation, options, showProgress)
  liveLine.clear()
  if (options.json) printFigures(measurements, options)
  else printTable(measurements, options)
  assertHandedOff(installation)
  const failed = measurements.filter((each) => each.errors > 0)
  if (failed.length > 0) {
    const where = failed.map((each) => `${each.errors} with ${each.name} at ${bytes(each.size)}`).join(', ')
    throw new TestbedError(`Requests failed: ${where}`)
  }
}

function showProgress({ run, runs, name, size, last }: Progress): void {
  const earlier =
    last === undefined ? '' : `; the run before: ${Math.round(last.requestsPerSecond).toLocaleString('en')} requests/s`
  liveLine.show(`run ${run} of ${runs}: ${name}, ${bytes(size)}${earlier}`)
}

/** Figures of connections that the gateway only relayed would be no figures of xoffload. */
function assertHandedOff({ handoffs }: Installation): void {
  const others = [...handoffs.outcomes].filter(([outcome]) => outcome !== 'handed-off')
  if (others.length === 0 && handoffs.count('handed-off') > 0) return
  const text = others.map(([outcome, count]) => `${count} ${outcome}`).join(', ')
  throw new TestbedError(`${handoffs.count('handed-off')} connections were handed off, but others were not: ${text}`)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  liveLine.clear()
  // An expected error is one sentence for the user; any other one keeps its stack.
  console.error(error instanceof XoffloadError ? `${pc.red('demo:')} ${error.message}` : error)
  process.exitCode = 1
}
