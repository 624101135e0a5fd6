import { accessSync, constants } from 'node:fs'
import { dirname } from 'node:path'
import { XoffloadError } from '@xoffload/core'
import { NginxGatewayServer } from '@xoffload/proxy-adapters/nginx'
import type { GatewayConfig, NginxConfig } from '../config/index.ts'
import { errorText, type Log } from '../runtime/log.ts'
import { NginxPeers } from './nginx-peers.ts'
import { NginxRequests, type NginxRequestsOptions } from './nginx-requests.ts'
import type { Server } from './server.ts'

/** What {@link NginxFront} works with. */
export interface NginxFrontOptions {
  readonly config: NginxConfig
  readonly requests: NginxRequests
  readonly maximumInFlight: number
  readonly log: Log
}

/** nginx in front of the gateway: the socket that its workers offer connections at. */
export class NginxFront {
  readonly #options: NginxFrontOptions
  #server: NginxGatewayServer | undefined

  constructor(options: NginxFrontOptions) {
    this.#options = options
  }

  /** Throws {@link XoffloadError} `NGINX` when the socket's folder is none that this process can use: to be known before anything begins. */
  requireFolder(): void {
    const folder = dirname(this.#options.config.socket)
    try {
      accessSync(folder, constants.W_OK | constants.X_OK)
    } catch (cause) {
      throw new XoffloadError('NGINX', `nginx.socket: ${folder} must be a folder of this user: ${errorText(cause)}`, {
        cause,
      })
    }
  }

  /** Begins to take offers. Rejects with {@link XoffloadError} `NGINX` when the socket cannot be made. */
  async open(): Promise<void> {
    const { config, requests, maximumInFlight, log } = this.#options
    const { socket, users } = config
    try {
      this.#server = await NginxGatewayServer.open({
        socket,
        users,
        maximumInFlight,
        onArrival: (arrival) => requests.requested(arrival),
        onError: (error) => log('errors', { event: 'error', step: 'take from nginx', error: errorText(error) }),
      })
    } catch (cause) {
      throw new XoffloadError('NGINX', `nginx.socket: cannot listen on ${socket}: ${errorText(cause)}`, { cause })
    }
    log('info', { event: 'nginx-expected', socket })
  }

  /** nginx keeps what it offers from now on: it is not known which process is to deal with it. */
  pause(): void {
    this.#options.requests.paused = true
  }

  /** Takes offers again. */
  resume(): void {
    this.#options.requests.paused = false
  }

  /** Leaves the socket's path to another process. What was offered before is still answered. */
  stopListening(): void {
    void this.#server?.close()
  }

  /** As {@link stopListening}, and resolves when all is answered: not before the handoffs are over. Safe to call twice. */
  async close(): Promise<void> {
    await this.#server?.close()
  }
}

/** What a gateway gives besides its configuration. */
export interface NginxFrontParts
  extends Pick<NginxRequestsOptions, 'selection' | 'handoffs' | 'serves' | 'recovery' | 'journal'> {
  readonly servers: readonly Server[]
  readonly log: Log
}

/** Undefined when the configuration has no nginx. */
export function nginxFront(
  { nginx: config, limits, servers: configured }: GatewayConfig,
  { servers, ...parts }: NginxFrontParts,
): NginxFront | undefined {
  if (config === undefined) return undefined
  const peers = new NginxPeers(configured, servers)
  const requests = new NginxRequests({ ...parts, choice: config.selection, peers, limits })
  return new NginxFront({ config, requests, maximumInFlight: limits.handoffs, log: parts.log })
}
