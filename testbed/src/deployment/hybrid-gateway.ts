/**
 * A gateway with a NIC that is none, a program of its own:
 *
 *     bun hybrid-gateway.ts FILE [--take-over]
 *
 * The NIC is a second tc redirector in front of the first one, with the commands of a ConnectX-5's speed. Every flow is worth a rule in it as
 * soon as a packet has used its rule in software.
 */
import { type HybridPolicy, HybridRedirector } from '@xoffload/core'
import { NIC_PROFILES, NicModel } from '@xoffload/core/simulation'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { Gateway, loadConfig, systemClock } from 'xoffload'

/** Packets meet the NIC first. */
const PRIORITY = { nic: 50, software: 100 } as const
const POLICY: Partial<HybridPolicy> = { minimumBytes: 0, minimumAge: 0, minimumPacketsPerSecond: 0, scanPause: 1 }

const [file = '', ...options] = process.argv.slice(2)
const config = await loadConfig('gateway', file)
const { device } = config
const table = new TcRedirector({ device, priority: PRIORITY.nic })
const redirector = new HybridRedirector({
  software: new TcRedirector({ device, priority: PRIORITY.software }),
  hardware: new NicModel({ clock: systemClock, profile: NIC_PROFILES.cx5, table }),
  clock: systemClock,
  policy: POLICY,
})
const stopped = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()))
const gateway = await Gateway.start(config, { redirector, takeOver: options.includes('--take-over') })
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`)
await Promise.race([stopped, gateway.retired])
await gateway.close()
