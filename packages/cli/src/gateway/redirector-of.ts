import type { ErrorListener, HybridStatistics, Redirector } from '@xoffload/core'
import type { GatewayConfig } from '../config/index.ts'
import { createRedirector, hardwareOf } from '../runtime/redirector.ts'
import type { GatewayOptions } from './gateway.ts'

/** The redirector of a gateway, and what it counts. */
export function redirectorOf(
  { device, limits, redirector: choice }: GatewayConfig,
  { redirector, heldPackets }: GatewayOptions,
  onError: ErrorListener,
): {
  readonly redirector: Redirector
  readonly heldPackets: GatewayOptions['heldPackets']
  readonly hardware: (() => HybridStatistics | undefined) | undefined
} {
  if (redirector !== undefined) return { redirector, heldPackets, hardware: hardwareOf(redirector) }
  return createRedirector({ device, flows: limits.flows, redirector: choice, onError })
}
