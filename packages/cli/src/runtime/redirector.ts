import {
  type ErrorListener,
  HybridRedirector,
  type HybridStatistics,
  type Redirector,
  RedirectorError,
} from '@xoffload/core'
import { Rtnetlink } from '@xoffload/linux'
import { AgilioRedirector } from '@xoffload/redirect-agilio'
import { type EbpfRedirector, TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import {
  type FlowerRedirector,
  type FlowerRedirectorOptions,
  SoftwareFlowerRedirector,
} from '@xoffload/redirect-flower'
import { CxFlowerRedirector } from '@xoffload/redirect-flower-cx'
import type { HardwareConfig, RedirectorConfig } from '../config/index.ts'
import type { HeldPacketCounts } from '../gateway/operations.ts'
import { systemClock } from './clock.ts'

/**
 * The first of three priorities of the filters for hardware. Packets must meet them before those of the software redirector (100), and
 * filters of different protocols cannot share a priority.
 */
const HARDWARE_PRIORITY = 60
const HARDWARE_PRIORITIES = 3

/** What a redirector is made of. */
export interface RedirectorChoice {
  readonly device: string
  /** The most flows that may have a rule. */
  readonly flows: number
  readonly redirector: RedirectorConfig
  /** Told of what hardware does wrong. */
  readonly onError: ErrorListener
}

/** A redirector, and what it counts besides its rules. Both return what they returned last when it is not open. */
export interface ConfiguredRedirector {
  readonly redirector: Redirector
  readonly heldPackets: () => HeldPacketCounts
  /** Undefined when there is no hardware. */
  readonly hardware: (() => HybridStatistics | undefined) | undefined
}

/** The redirector that a gateway's configuration describes. It is not open. */
export function createRedirector({ device, flows, redirector, onError }: RedirectorChoice): ConfiguredRedirector {
  const options = { device, capacity: flows }
  const { type, mode, hardware } = redirector
  const software = type === 'xdp' ? new XdpRedirector({ ...options, ...(mode && { mode }) }) : new TcRedirector(options)
  const heldPackets = heldPacketsOf(software)
  if (hardware === undefined) return { redirector: software, heldPackets, hardware: undefined }
  const hybrid = new HybridRedirector({
    software,
    hardware: createHardware(device, hardware),
    clock: systemClock,
    policy: hardware.policy,
    onError,
  })
  return { redirector: hybrid, heldPackets, hardware: hardwareOf(hybrid) }
}

/** What a hybrid redirector counts; undefined before it was open, and when it is none. */
export function hardwareOf(redirector: Redirector): (() => HybridStatistics | undefined) | undefined {
  if (!(redirector instanceof HybridRedirector)) return undefined
  return lastKnown(() => redirector.statistics(), undefined)
}

/** The options of a flower redirector for a device. */
export function flowerOptions(
  device: string,
  { output, vlan, tunnel, flows }: HardwareConfig,
): FlowerRedirectorOptions {
  return {
    device,
    priority: HARDWARE_PRIORITY,
    ...(output !== undefined && { output }),
    ...(vlan !== undefined && { vlan }),
    ...(tunnel !== undefined && { tunnel }),
    ...(flows !== undefined && { capacity: flows }),
  }
}

function createHardware(device: string, config: HardwareConfig): FlowerRedirector {
  const options = flowerOptions(device, config)
  switch (config.type) {
    case 'cx-flower':
      return new CxFlowerRedirector(options)
    case 'agilio':
      return new AgilioRedirector(options)
    case 'flower':
      return new SoftwareFlowerRedirector(options)
  }
}

/**
 * Throws {@link RedirectorError} `busy` when the device has hardware rules of a gateway that was configured otherwise and has not closed its
 * redirector: they would steer past a redirector that does not know them.
 */
export function requireNoHardwareRules(device: string): void {
  using rtnetlink = new Rtnetlink()
  const index = rtnetlink.link(device)?.index
  const filters = index === undefined ? [] : rtnetlink.filters(index, 'ingress')
  const isOurs = (priority: number): boolean =>
    priority >= HARDWARE_PRIORITY && priority < HARDWARE_PRIORITY + HARDWARE_PRIORITIES
  const found = filters.find(({ kind, priority }) => kind === 'flower' && isOurs(priority))
  if (found === undefined) return
  const removal = `tc filter del dev ${device} ingress prio ${found.priority}`
  const advice = `end that one with SIGTERM, or if it has crashed, configure redirector.hardware as it was, or remove them with "${removal}"`
  throw new RedirectorError(
    'busy',
    `${device} has flower filters at priority ${found.priority}, as a gateway with redirector.hardware leaves them: ${advice}`,
  )
}

function heldPacketsOf(software: EbpfRedirector): () => HeldPacketCounts {
  const count = (): HeldPacketCounts => {
    const { heldIngress, heldEgress, droppedHeldFrames } = software.statistics()
    return { heldPackets: Number(heldIngress + heldEgress), droppedHeldPackets: droppedHeldFrames }
  }
  return lastKnown(count, { heldPackets: 0, droppedHeldPackets: 0 })
}

/** What `read` returned last, while the redirector is not open, as when another process takes over. */
function lastKnown<Value>(read: () => Value, first: Value): () => Value {
  let value = first
  return () => {
    try {
      value = read()
    } catch (error) {
      if (!(error instanceof RedirectorError) || error.reason !== 'gone') throw error
    }
    return value
  }
}
