import { type Clock, FlowKey, HybridRedirector, MacAddress } from '@xoffload/core'
import { MemoryDevice, MemoryRedirector } from '@xoffload/core/simulation'
import { inNetworkNamespace } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { Figure, Host } from '@xoffload/testbed'

const FLOWS = [100_000, 1_000_000]
/** With more flows than this the end of a pass is not awaited. */
const PASS = 100_000
const TARGET = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:01') } as const
/** How long an open hybrid is watched, in milliseconds. */
const DURATION = 3000

/** What looking for flows that are worth the hardware costs, with many flows that are not: processor time, and the time of one pass. */
export async function measureScan(gateway: Host, clock: Clock): Promise<Figure[]> {
  const figures: Figure[] = []
  const capacity = Math.max(...FLOWS)
  const software = new TcRedirector({ device: gateway.device, capacity })
  const inside = <T>(run: () => T): T => inNetworkNamespace(gateway.namespacePath, run)
  await inside(() => software.open())
  try {
    let count = 0
    for (const flows of FLOWS) {
      for (; count < flows; count++) await software.put({ action: 'steer', flow: flow(count), target: TARGET })
      figures.push(...(await watch(software, clock, flows)))
    }
  } finally {
    await inside(() => software.close())
  }
  return figures
}

async function watch(software: TcRedirector, clock: Clock, flows: number): Promise<Figure[]> {
  const hardware = new MemoryRedirector({ device: new MemoryDevice(clock), holds: false, offload: 'nic' })
  // The rules are to stay for the next measurement.
  const lasting = { open: async () => {}, close: async () => {}, release: async () => {} }
  const opened = {
    manifest: software.manifest,
    ...lasting,
    put: software.put.bind(software),
    remove: software.remove.bind(software),
    counters: software.counters.bind(software),
    list: software.list.bind(software),
  }
  const redirector = new HybridRedirector({ software: opened, hardware, clock })
  await redirector.open()
  const busy = await cpuShare(DURATION, async () => {
    while (flows <= PASS && redirector.statistics().scans === 0) await Bun.sleep(20)
  })
  const { scanTime } = redirector.statistics()
  await redirector.release()
  const common = { bench: 'hybrid', case: 'scan', flows }
  const cpu = { ...common, metric: 'cpu', unit: '%', value: busy, n: 1 }
  return flows <= PASS ? [{ ...common, metric: 'pass', unit: 'ms', value: scanTime, n: 1 }, cpu] : [cpu]
}

/** Per cent of one processor that this process uses, for so many milliseconds at least. */
async function cpuShare(milliseconds: number, meanwhile: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  const start = performance.now()
  await Promise.all([Bun.sleep(milliseconds), meanwhile()])
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 10 / (performance.now() - start)
}

function flow(number: number): FlowKey {
  const client = { address: `198.18.${(number >> 22) & 255}.${(number >> 14) & 255}`, port: 1024 + (number & 0x3fff) }
  return FlowKey.of(client, { address: '198.51.100.1', port: 443 })
}
