// What every redirector must do, with the real kernel's flower: in software, and offloaded to the virtual NIC as a ConnectX and as
// an Agilio.
import { afterAll, beforeAll, describe, setDefaultTimeout, test } from 'bun:test'
import type { Rule } from '@xoffload/core'
import { redirectorSuite } from '@xoffload/core/conformance'
import { recordConformance } from '../../../src/conformance/record.ts'
import { type NicPort, VirtualNic } from '../../../src/guest/index.ts'
import { buildCrashProgram, type CrashProgram } from './flower-crash.ts'
import { flowerKinds } from './flower-kinds.ts'
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
})
afterAll(() => resources.disposeAsync())

/** One rule is one filter, and a filter matches packets without a tag, or with that of one VLAN: the option `vlan`. */
const ONE_VLAN = 'it steers the packets of one VLAN, which it is told'
const absences = Object.fromEntries(
  [4, 6].flatMap((family) =>
    [
      'get other MAC addresses and nothing else, with 1 VLAN tags',
      'get other MAC addresses and nothing else, with 2 VLAN tags',
      'are counted with their VLAN tags',
    ].map((test) => [`packets that are steered: ${test} (IPv${family})`, ONE_VLAN]),
  ),
)

/** The guest's processor is emulated. The suite on a fake kernel (packages/redirect-flower/test) puts all the rules that it is meant to. */
const limits = { step: 15_000, rules: 1000 }

for (const { name, knobs, create } of flowerKinds) {
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
    absences,
    limits,
  })
}
