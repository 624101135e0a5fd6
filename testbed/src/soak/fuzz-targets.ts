import { cliTargets } from '../../../packages/cli/test/config/fuzz/targets.ts'
import { coreTargets } from '../../../packages/core/test/fuzz/targets.ts'
import type { FuzzTarget } from '../../../packages/core/test/support/fuzz/index.ts'
import { linuxTargets } from '../../../packages/linux/test/fuzz/targets.ts'
import { adapterTargets } from '../../../packages/proxy-adapters/test/fuzz/targets.ts'
import { redirectTargets } from '../../../packages/redirect-ebpf/test/fuzz/targets.ts'
import { TestbedError } from '../errors.ts'

/** Every decoder of every package. Each package's own tests feed them too, with fewer inputs. */
export const fuzzTargets: readonly FuzzTarget[] = [
  ...coreTargets,
  ...linuxTargets,
  ...redirectTargets,
  ...adapterTargets,
  ...cliTargets,
]

/** Throws {@link TestbedError} when there is none with this name. */
export function fuzzTarget(name: string): FuzzTarget {
  const target = fuzzTargets.find((each) => each.name === name)
  if (target !== undefined) return target
  const names = fuzzTargets.map((each) => each.name).join(', ')
  throw new TestbedError(`There is no fuzz target "${name}": there are ${names}`)
}

/** How many inputs of `inputs` each target gets, by its share. At least one. */
export function inputsOf(inputs: number): readonly { readonly target: FuzzTarget; readonly count: number }[] {
  const whole = fuzzTargets.reduce((sum, { share = 1 }) => sum + share, 0)
  return fuzzTargets.map((target) => ({
    target,
    count: Math.max(1, Math.round((inputs * (target.share ?? 1)) / whole)),
  }))
}
