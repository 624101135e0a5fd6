import type { RedirectorManifest } from '../../redirector.ts'
import { group } from '../case.ts'
import { check, equal } from '../failure.ts'

export const manifestCases = group('manifest', [
  {
    name: 'says what can be',
    run: async ({ manifest }) => {
      const { name, offload, families, steerModes, holds, capacity, observable, expected } = manifest
      check(
        /^[a-z0-9][a-z0-9+._-]{0,31}$/i.test(name),
        `name is "${name}": up to 32 letters, digits and "-+._" expected`,
      )
      subset('offload', [offload], ['software', 'driver', 'nic'])
      subset('families', families, [4, 6])
      subset('steerModes', steerModes, ['l2', 'vxlan', 'ipip'])
      check(typeof holds === 'boolean' && typeof observable === 'boolean', 'holds and observable are true or false')
      check(Number.isSafeInteger(capacity) && capacity > 0, `capacity is ${capacity}: a positive integer is expected`)
      for (const [key, time] of Object.entries(expected)) {
        check(Number.isFinite(time) && time > 0, `expected.${key} is ${time}: a positive time is expected`)
      }
      check(Object.keys(expected).length === 2, 'expected has insertMicroseconds and removeMicroseconds')
    },
  },
  {
    name: 'does not change while the redirector is open',
    run: async (scene) => {
      const before = manifestText(scene.manifest)
      for (const rule of scene.rules(3)) await scene.redirector.put(rule)
      equal(manifestText(scene.manifest), before, 'the manifest after three rules')
      await scene.redirector.remove(scene.flow(1))
      equal(manifestText(scene.manifest), before, 'the manifest after a removal')
    },
  },
  {
    name: 'is that of the rules that are adopted',
    run: async (scene) => {
      const before = manifestText(scene.manifest)
      await scene.redirector.put(scene.rule(1))
      await scene.redirector.release()
      const next = await scene.open()
      equal(manifestText(next.manifest), before, 'the manifest of the next owner')
    },
  },
])

function subset<T>(name: string, values: readonly T[], allowed: readonly T[]): void {
  check(values.length > 0, `${name} is empty`)
  check(new Set(values).size === values.length, `${name} names something twice: ${values}`)
  for (const value of values) check(allowed.includes(value), `${name} has ${value}: one of ${allowed} is expected`)
}

function manifestText(manifest: RedirectorManifest): string {
  return JSON.stringify(manifest)
}
