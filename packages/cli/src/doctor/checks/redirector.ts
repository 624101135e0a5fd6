import { FlowKey, type Redirector, XoffloadError } from '@xoffload/core'
import { Tap } from '@xoffload/linux'
import { TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import { SoftwareFlowerRedirector } from '@xoffload/redirect-flower'
import { type Check, ok } from '../check.ts'

/** A flow of addresses for documentation (RFC 5737). */
const FLOW = FlowKey.of({ address: '192.0.2.1', port: 1 }, { address: '192.0.2.2', port: 2 })
const CAPACITY = 16

/**
 * Does all that the configured redirector does, on a device that exists for this only: TAP devices, libbpf, clsact, BPF programs and
 * maps, and flower filters when hardware is to have some. The kernel removes the device with all that is on it, also when this process is
 * killed.
 */
export const redirectorCheck: Check = {
  name: 'redirector',
  async run({ role, config }) {
    const { type, hardware } = (role === 'gateway' && config?.redirector) || { type: 'tc' as const }
    using tap = Tap.open({ name: 'xodoctor%d' })
    const options = { device: tap.name, capacity: CAPACITY }
    await tryHold(type === 'xdp' ? new XdpRedirector({ ...options, mode: 'generic' }) : new TcRedirector(options))
    if (hardware !== undefined) await tryOpen(new SoftwareFlowerRedirector(options))
    const parts = [
      'BPF programs',
      'tc hooks',
      ...(type === 'xdp' ? ['XDP'] : []),
      ...(hardware === undefined ? [] : ['flower filters']),
    ]
    return ok(`${parts.join(', ')} and TAP devices work`)
  },
}

async function tryHold(redirector: Redirector): Promise<void> {
  await redirector.open()
  try {
    await redirector.put({ action: 'hold', flow: FLOW })
    if (!(await redirector.remove(FLOW)))
      throw new XoffloadError('DOCTOR', 'a rule that was put is not in the table: report this with the kernel version')
  } finally {
    await redirector.close()
  }
}

/** To open it is to put a filter with everything that rules have. */
async function tryOpen(redirector: Redirector): Promise<void> {
  await redirector.open()
  await redirector.close()
}
