import type { Check } from './check.ts'
import { announcementsCheck } from './checks/announcements.ts'
import { capabilitiesCheck } from './checks/capabilities.ts'
import { certificatesCheck } from './checks/certificates.ts'
import { descriptorsCheck } from './checks/descriptors.ts'
import { deviceCheck } from './checks/device.ts'
import { libbpfCheck } from './checks/libbpf.ts'
import { moveCheck } from './checks/move.ts'
import { portsCheck } from './checks/ports.ts'
import { redirectorCheck } from './checks/redirector.ts'
import { serverProgramCheck } from './checks/server-program.ts'
import { serversCheck } from './checks/servers.ts'
import { serviceAddressCheck } from './checks/service-address.ts'
import { settingsCheck } from './checks/settings.ts'
import { steeringCheck } from './checks/steering.ts'
import { bunCheck, jitCheck, kernelCheck } from './checks/system.ts'
import { tunCheck } from './checks/tun.ts'
import { tunnelCheck } from './checks/tunnel.ts'

export { type Check, type Examined, failed, type Result } from './check.ts'
export { examine, type Finding } from './examine.ts'
export { type NeededCapability, neededCapabilities } from './needed-capabilities.ts'

/** What a host needs, from the ground up. */
export const checks: readonly Check[] = [
  bunCheck,
  kernelCheck,
  jitCheck,
  libbpfCheck,
  capabilitiesCheck,
  moveCheck,
  announcementsCheck,
  tunCheck,
  redirectorCheck,
  settingsCheck,
  deviceCheck,
  steeringCheck,
  tunnelCheck,
  serviceAddressCheck,
  portsCheck,
  serverProgramCheck,
  descriptorsCheck,
  certificatesCheck,
  serversCheck,
]
