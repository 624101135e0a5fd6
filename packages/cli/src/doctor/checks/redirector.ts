import { FlowKey, XoffloadError } from '@xoffload/core'
import { Tap } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { type Check, ok } from '../check.ts'

/** A flow of addresses for documentation (RFC 5737). */
const FLOW = FlowKey.of({ address: '192.0.2.1', port: 1 }, { address: '192.0.2.2', port: 2 })

/**
 * Does all that a redirector does, on a device that exists for this only: TAP devices, libbpf, clsact, BPF programs and maps. The kernel
 * removes the device with all that is on it, also when this process is killed.
 */
export const redirectorCheck: Check = {
  name: 'redirector',
  async run() {
    using tap = Tap.open({ name: 'xodoctor%d' })
    const redirector = new TcRedirector({ device: tap.name, capacity: 16 })
    await redirector.open()
    try {
      await redirector.put({ action: 'hold', flow: FLOW })
      if (!(await redirector.remove(FLOW)))
        throw new XoffloadError(
          'DOCTOR',
          'a rule that was put is not in the table: report this with the kernel version',
        )
    } finally {
      await redirector.close()
    }
    return ok('BPF programs, tc hooks and TAP devices work')
  },
}
