import {
  type FlowerHardware,
  type FlowerProfile,
  FlowerRedirector,
  type FlowerRedirectorOptions,
  requireTcOffload,
  requireUp,
} from '../src/index.ts'
import type { FakeKernel } from './fake-kernel.ts'

export const fakeProfile: FlowerProfile = {
  name: 'fake',
  offload: 'nic',
  execution: 'skip-software',
  families: [4, 6],
  steerModes: ['l2'],
  capacity: 65_536,
  expected: { insertMicroseconds: 100, removeMicroseconds: 100 },
  countsLinkHeader: false,
}

/** A NIC that does everything. */
export const fakeNic: FlowerHardware = (device, { tunnel }) => {
  requireTcOffload(device)
  requireUp(device)
  return { ...fakeProfile, steerModes: tunnel === undefined ? ['l2'] : ['l2', 'vxlan'] }
}

/** A redirector of the fake's device, not open. */
export function makeFake(kernel: FakeKernel, options: Partial<FlowerRedirectorOptions> = {}): FlowerRedirector {
  return new FlowerRedirector({ device: 'nic0', kernel, ...options }, fakeNic, fakeProfile)
}

/** A redirector that is open until it is disposed of. */
export async function openFake(kernel: FakeKernel, options: Partial<FlowerRedirectorOptions> = {}) {
  const redirector = makeFake(kernel, options)
  await redirector.open()
  return { redirector, [Symbol.asyncDispose]: () => redirector.close() }
}
