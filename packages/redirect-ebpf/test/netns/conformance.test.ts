// What every redirector must do, with real packets: @xoffload/core/conformance.
import { afterAll, describe, test } from 'bun:test'
import type { Redirector, Rule } from '@xoffload/core'
import { redirectorSuite } from '@xoffload/core/conformance'
import { recordConformance } from '../../../../testbed/src/conformance/record.ts'
import { rulesToText } from './conformance/rule-text.ts'
import { makeSegment } from './conformance/segment.ts'
import { subjects } from './conformance/subjects.ts'
import type { TestNetwork } from './network.ts'

/** A redirector takes the device of the network namespace that it is opened in. */
function inside({ gateway }: TestNetwork, redirector: Redirector): Redirector {
  return {
    get manifest() {
      return redirector.manifest
    },
    open: (options) => gateway.inside(() => redirector.open(options)),
    close: () => gateway.inside(() => redirector.close()),
    release: () => gateway.inside(() => redirector.release()),
    put: (rule, options) => redirector.put(rule, options),
    remove: (flow, options) => redirector.remove(flow, options),
    counters: (flow, options) => redirector.counters(flow, options),
    list: (options) => redirector.list(options),
  }
}

/** Puts the rules in another process, and kills it. */
async function crash({ gateway }: TestNetwork, subject: string, rules: readonly Rule[]): Promise<void> {
  const program = new URL('conformance/owner.ts', import.meta.url).pathname
  const command = ['nsenter', `--net=${gateway.path}`, process.execPath, program, subject, rulesToText(rules)]
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' })
  const { value } = await child.stdout.getReader().read()
  child.kill('SIGKILL')
  await child.exited
  if (value === undefined) throw new Error('the process has not put the rules')
}

for (const { name, driver, create } of subjects) {
  const segment = makeSegment({ driver })
  afterAll(() => segment[Symbol.dispose]())
  redirectorSuite({
    name,
    test,
    describe,
    factory: () => ({
      redirector: (request = {}) => create(request, (part) => inside(segment.network, part)),
      crash: (rules) => crash(segment.network, name, rules),
      network: segment.suite,
      dispose: segment.clean,
    }),
    onResult: recordConformance,
  })
}
