// What every redirector must do, without packets: the software NIC, and hybrids of it and a redirector in memory.
import { describe, test } from 'bun:test'
import { recordConformance } from '../../../../testbed/src/conformance/record.ts'
import { type DeviceUnderTest, redirectorSuite } from '../../src/conformance/index.ts'
import { type Clock, HybridRedirector, type Redirector } from '../../src/index.ts'
import { MemoryDevice, MemoryRedirector, NIC_PROFILES, NicModel, type NicProfile } from '../../src/simulation/index.ts'

const clock: Clock = {
  now: () => performance.now() * 1000,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => clearTimeout(timer)
  },
}

/** A process that is killed leaves the devices as they are, and nobody who has them. */
function underTest(
  make: (capacity: number | undefined) => Redirector,
  devices: readonly MemoryDevice[],
): DeviceUnderTest {
  return {
    redirector: ({ capacity } = {}) => make(capacity),
    async crash(rules) {
      const killed = make(undefined)
      await killed.open()
      for (const rule of rules) await killed.put(rule)
      // Its timers would go on otherwise; what it does to its devices from here on is refused.
      for (const device of devices) device.crash()
      await killed.release()
    },
  }
}

function nic(device: MemoryDevice, profile: NicProfile, capacity?: number): NicModel {
  const table = new MemoryRedirector({ device })
  return new NicModel({ clock, profile, table, ...(capacity !== undefined && { capacity }) })
}

redirectorSuite({
  name: 'memory',
  test,
  describe,
  factory() {
    const device = new MemoryDevice(clock)
    const make = (capacity?: number) => new MemoryRedirector({ device, ...(capacity !== undefined && { capacity }) })
    return underTest(make, [device])
  },
  onResult: recordConformance,
})

for (const profile of Object.values(NIC_PROFILES)) {
  // Not what a person would wait for: ten thousand rules take the card long.
  const quick = {
    ...profile,
    insertMicroseconds: profile.insertMicroseconds / 10,
    removeMicroseconds: profile.removeMicroseconds / 10,
  }
  redirectorSuite({
    name: `${profile.name}-model`,
    test,
    describe,
    factory() {
      const device = new MemoryDevice(clock)
      return underTest((capacity) => nic(device, quick, capacity), [device])
    },
    onResult: recordConformance,
  })
  redirectorSuite({
    name: `memory + ${profile.name}-model`,
    test,
    describe,
    factory() {
      const [kernel, card] = [new MemoryDevice(clock), new MemoryDevice(clock)]
      const make = (capacity?: number) =>
        new HybridRedirector({
          software: new MemoryRedirector({ device: kernel, ...(capacity !== undefined && { capacity }) }),
          hardware: nic(card, quick),
          clock,
          // Every rule goes into the hardware.
          policy: { expectedBytes: 0 },
          queue: { removal: 60_000 },
        })
      return underTest(make, [kernel, card])
    },
    onResult: recordConformance,
  })
}
