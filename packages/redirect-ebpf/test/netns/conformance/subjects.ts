import { type Clock, HybridRedirector, type Redirector } from '@xoffload/core'
import type { RedirectorRequest } from '@xoffload/core/conformance'
import { NIC_PROFILES, NicModel, type NicProfile } from '@xoffload/core/simulation'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { basis, kinds } from '../kinds.ts'

/** A redirector to test, by name, so that another process can make it too. */
export interface Subject {
  readonly name: string
  /** It needs the device's driver: see `TestNetwork`. */
  readonly driver: boolean
  /** `place` makes a redirector of one device open it in its network namespace. */
  create(request: RedirectorRequest, place: (redirector: Redirector) => Redirector): Redirector
}

/** Before that of the software redirectors: what stands for the NIC sees packets first. */
const NIC_PRIORITY = 50
/** So many times as fast as the real NIC: nothing here measures it. */
const HASTE = 10

const clock: Clock = {
  now: () => performance.now() * 1000,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => clearTimeout(timer)
  },
}

/** tc in front of tc, with the rule latency of a NIC. Every rule goes into the hardware that may. */
function hybrid(profile: NicProfile): Subject {
  const quick = {
    ...profile,
    insertMicroseconds: profile.insertMicroseconds / HASTE,
    removeMicroseconds: profile.removeMicroseconds / HASTE,
  }
  return {
    name: `tc + ${profile.name} model`,
    driver: false,
    create(request, place) {
      const table = place(new TcRedirector({ ...basis, priority: NIC_PRIORITY }))
      return new HybridRedirector({
        software: place(new TcRedirector({ ...basis, ...request })),
        hardware: new NicModel({ clock, profile: quick, table }),
        clock,
        policy: { expectedBytes: 0 },
        queue: { removal: 60_000 },
      })
    },
  }
}

export const subjects: readonly Subject[] = [
  ...kinds.map(
    ([name, kind]): Subject => ({
      name,
      driver: kind.driver,
      create: (request, place) => place(kind.create(request)),
    }),
  ),
  hybrid(NIC_PROFILES.cx5),
  hybrid(NIC_PROFILES.agilio),
]
