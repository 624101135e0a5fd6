import { type Clock, HybridRedirector, type HybridStatistics, type Redirector, type RuleTable } from '@xoffload/core'
import { NicModel, type NicProfile } from '@xoffload/core/simulation'
import { inNetworkNamespace } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { Host } from '@xoffload/testbed'
import type { Subject } from './hybrid-traffic.ts'

/** How many flows the tables have room for. */
const CAPACITY = 65_536
/** The program that plays the NIC sees packets before that of the software redirector. */
const PRIORITY = { nic: 50, software: 100 } as const

/** From this size on a response is worth a rule in hardware, in bytes. */
export const WORTH_HARDWARE = 1024 * 1024

/** A redirector of the gateway's device that is open. */
export interface OpenSubject extends Subject, AsyncDisposable {
  readonly statistics?: () => HybridStatistics
}

/** Software alone. What plays the NIC is there too, without a rule: a real one costs the packets that it does not know nothing. */
export async function softwareOnly(gateway: Host): Promise<OpenSubject> {
  const [software, idle] = [tc(gateway, PRIORITY.software), tc(gateway, PRIORITY.nic)]
  await software.open()
  await idle.open()
  return {
    table: software,
    counters: (flow) => software.counters(flow),
    software,
    async [Symbol.asyncDispose]() {
      await idle.close()
      await software.close()
    },
  }
}

/**
 * The NIC alone steers, and a connection waits until it does. Its rules are put and removed in the order of the calls, behind the NIC's
 * lock. Only holding is left to software, since no NIC can.
 */
export async function hardwareOnly(gateway: Host, profile: NicProfile, nicClock: Clock): Promise<OpenSubject> {
  const { software, nic } = parts(gateway, profile, nicClock)
  await software.open()
  await nic.open()
  const table: RuleTable = {
    async put(rule, options) {
      if (rule.action === 'steer') await nic.put(rule, options)
      else await nic.remove(rule.flow, options)
      return software.put(rule, options)
    },
    async remove(flow, options) {
      await nic.remove(flow, options)
      return software.remove(flow, options)
    },
  }
  return {
    table,
    async counters(flow) {
      const [one, other] = await Promise.all([software.counters(flow), nic.counters(flow)])
      return one && other && { ...one, bytes: one.bytes + other.bytes }
    },
    software,
    async [Symbol.asyncDispose]() {
      await nic.close()
      await software.close()
    },
  }
}

/** Software first, and the NIC in the background for what is worth it. */
export async function hybrid(gateway: Host, profile: NicProfile, nicClock: Clock, clock: Clock): Promise<OpenSubject> {
  const { software, nic } = parts(gateway, profile, nicClock)
  const policy = { expectedBytes: WORTH_HARDWARE }
  const table = new HybridRedirector({ software, hardware: nic, clock, policy })
  await table.open()
  return {
    table,
    counters: (flow) => table.counters(flow),
    software,
    statistics: () => table.statistics(),
    [Symbol.asyncDispose]: () => table.close(),
  }
}

function parts(gateway: Host, profile: NicProfile, nicClock: Clock) {
  const table = tc(gateway, PRIORITY.nic)
  return { software: tc(gateway, PRIORITY.software), nic: new NicModel({ clock: nicClock, profile, table }) }
}

/** A redirector takes the device of the network namespace that it is opened in. */
function tc({ device, namespacePath }: Host, priority: number): Redirector {
  const redirector = new TcRedirector({ device, capacity: CAPACITY, priority })
  const inside = <T>(run: () => T): T => inNetworkNamespace(namespacePath, run)
  return {
    get manifest() {
      return redirector.manifest
    },
    open: (options) => inside(() => redirector.open(options)),
    close: () => inside(() => redirector.close()),
    release: () => inside(() => redirector.release()),
    put: (rule, options) => redirector.put(rule, options),
    remove: (flow, options) => redirector.remove(flow, options),
    counters: (flow, options) => redirector.counters(flow, options),
    list: (options) => redirector.list(options),
  }
}
