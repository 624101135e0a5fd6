// What every redirector must do, with the real kernel's eBPF and a virtual NIC that plays a ConnectX and an Agilio.
import { afterAll, beforeAll, describe, setDefaultTimeout, test } from 'bun:test'
import type { Rule } from '@xoffload/core'
import { redirectorSuite } from '@xoffload/core/conformance'
import { runTool } from '../../../src/command.ts'
import { RESULTS_VARIABLE, recordConformance } from '../../../src/conformance/record.ts'
import { type NicPort, VirtualNic } from '../../../src/guest/index.ts'
import { buildCrashProgram, type CrashProgram } from './flower-crash.ts'
import { hybridKinds } from './flower-kinds.ts'
import { type FlowerSegment, makeSegment } from './flower-segment.ts'

setDefaultTimeout(120_000)

const resources = new AsyncDisposableStack()
let nic: VirtualNic
let port: NicPort
let segment: FlowerSegment
let program: CrashProgram
beforeAll(async () => {
  nic = resources.use(await VirtualNic.load({ nics: 1, ports: 1 }))
  port = nic.port(0)
  segment = resources.use(await makeSegment(port))
  program = resources.use(await buildCrashProgram())
  await runTool(['modprobe', 'tun'])
})
afterAll(() => resources.disposeAsync())

/** The guest's processor is emulated. */
const limits = { step: 15_000, rules: 1000 }
/**
 * The pair with the most ways of its own: both programs, and a card that must be watched to know whether it has a rule. Each part alone and connections
 * through every pair are in other tests; `npm run conformance` has the time for the suite on each pair.
 */
const kinds = hybridKinds.filter(({ name }) => RESULTS_VARIABLE in process.env || name === 'xdp + agilio')

for (const { name, knobs, create } of kinds) {
  redirectorSuite({
    name,
    test,
    describe,
    factory: () => {
      nic.set(knobs)
      return {
        redirector: (request = {}) => create({ device: port.host, ...request }),
        crash: (rules: readonly Rule[]) => program.crash(name, port.host, rules),
        network: segment.network,
        dispose: segment.clean,
      }
    },
    onResult: recordConformance,
    limits,
  })
}
