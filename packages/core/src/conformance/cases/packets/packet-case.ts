import { FAMILIES, type GroupedCase } from '../../case.ts'
import type { Scene } from '../../scene.ts'
import { Wire } from '../../wire.ts'

export interface PacketCase {
  readonly name: string
  readonly families?: readonly (4 | 6)[]
  /** What else it takes. */
  readonly absence?: (scene: Scene) => string | undefined
  readonly whenAbsent?: (scene: Scene, wire: Wire) => Promise<void>
  readonly whenDeclaredAbsent?: (scene: Scene, wire: Wire) => Promise<void>
  readonly run: (scene: Scene, wire: Wire) => Promise<void>
}

export const withoutHold = ({ manifest }: Scene) => (manifest.holds ? undefined : 'manifest: it does not hold')

export const withoutCounters = ({ manifest }: Scene) =>
  manifest.observable ? undefined : 'manifest: its counters prove nothing'

/** A case with real packets in mode l2, for each address family. */
export function packetCases(cases: readonly PacketCase[]): readonly GroupedCase[] {
  return cases.flatMap(({ name, families = FAMILIES, absence, whenAbsent, whenDeclaredAbsent, run }) =>
    families.map((family): GroupedCase => {
      const proof = whenAbsent && (async (scene: Scene) => whenAbsent(scene, await Wire.begin(scene, family)))
      return {
        name: `${name} (IPv${family})`,
        absence: (scene) => networkAbsence(scene, family) ?? absence?.(scene),
        // Without packets nothing can be proven with them.
        ...(proof && {
          whenAbsent: async (scene: Scene) => {
            if (networkAbsence(scene, family) === undefined) await proof(scene)
          },
        }),
        ...(whenDeclaredAbsent && {
          whenDeclaredAbsent: async (scene: Scene) => whenDeclaredAbsent(scene, await Wire.begin(scene, family)),
        }),
        run: async (scene) => run(scene, await Wire.begin(scene, family)),
      }
    }),
  )
}

/** Why there are no packets in mode l2 of this family. */
export function networkAbsence({ device: { network }, manifest }: Scene, family: 4 | 6): string | undefined {
  if (!manifest.families.includes(family)) return `manifest: no IPv${family}`
  if (!manifest.steerModes.includes('l2')) return 'manifest: no steer mode l2'
  if (network === undefined) return 'the factory gives no network'
  const addresses = [network.clientAddresses[family], network.serviceAddresses[family]]
  return addresses.includes(undefined) ? `the factory's network has no IPv${family}` : undefined
}
