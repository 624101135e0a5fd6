/** The suite that every redirector passes, on a kernel that speaks netlink: all but real packets. */
import { describe, test } from 'bun:test'
import { redirectorSuite } from '@xoffload/core/conformance'
import { FlowerRedirector } from '../src/index.ts'
import { FakeKernel } from './fake-kernel.ts'
import { fakeNic, fakeProfile } from './fake-nic.ts'

function fake() {
  const kernel = new FakeKernel()
  return {
    redirector: (request: { readonly capacity?: number } = {}) =>
      new FlowerRedirector({ device: 'nic0', kernel, ...request }, fakeNic, fakeProfile),
  }
}

redirectorSuite({ name: 'flower (fake kernel)', test, describe, factory: fake })
