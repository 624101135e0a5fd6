import { closeSync, openSync } from 'node:fs'
import { type Check, failed, ok } from '../check.ts'

const PATH = '/dev/net/tun'

/** Whoever may open it can make TAP devices; udev lets everybody. */
export const tunCheck: Check = {
  name: 'tun',
  run() {
    try {
      closeSync(openSync(PATH, 'r+'))
      return ok(`${PATH} can be opened`)
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      return failed(`${PATH} cannot be opened (${code}): ${ADVICE[code] ?? 'does the kernel have CONFIG_TUN?'}`)
    }
  },
}

const ADVICE: Record<string, string> = {
  ENOENT: 'load the driver with "modprobe tun"',
  ENODEV: 'load the driver with "modprobe tun"',
  EACCES: `let the user open it: chmod 666 ${PATH}, as udev does`,
  EPERM: `in a container or a systemd unit, allow the device (DeviceAllow=${PATH} rw)`,
}
