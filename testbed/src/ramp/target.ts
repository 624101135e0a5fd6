/**
 * The server of a ramp run, a program of its own: goes on with the connections that are handed to it.
 *
 *     bun target.ts SERVER-CONFIG
 *
 * Prints `{"event":"ready"}`, and at SIGTERM one line with what it saw.
 */

import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { Socket, SocketHandler, TCPSocketConnectOptions } from 'bun'
import { loadConfig, type RestoredSocket, ServerAgent } from 'xoffload'
import { decodeProgress, RampConnection } from './connection.ts'
import { requestedSabotage } from './sabotage.ts'

/** What the target saw of a whole run. */
export interface TargetReport {
  readonly adopted: number
  /** Connections with bytes in their receive queue or a part of the upload yet to come when they were adopted. */
  readonly uploadInFlight: number
  readonly unsentBytes: number
  readonly failures: readonly string[]
}

const failures: string[] = []
let adopted = 0
let uploadInFlight = 0
let unsentBytes = 0

async function adopt(restored: RestoredSocket, application: Uint8Array): Promise<void> {
  const progress = decodeProgress(application)
  adopted++
  if (progress.uploaded < progress.plan.upload && progress.plan.upload > 16 * 1024) uploadInFlight++
  unsentBytes += restored.unsent.length
  let rest = restored.unsent
  let ramp: RampConnection | undefined
  let done = false
  const write = (socket: Socket<unknown>): void => {
    ramp ??= new RampConnection(socket, progress, progress.plan.download)
    if (rest.length > 0) rest = rest.subarray(Math.max(socket.write(rest), 0))
    if (rest.length > 0 || done || !ramp.write() || !ramp.complete) return
    done = true
    socket.end()
  }
  const fail = (reason: string) => {
    if (!done) failures.push(`${restored.flow} at ${JSON.stringify(ramp?.progress ?? progress)}: ${reason}`)
    done = true
  }
  const handlers: SocketHandler<unknown> = {
    open: write,
    drain: write,
    data(socket, chunk) {
      try {
        ramp?.read(chunk)
      } catch (error) {
        fail(String(error))
        socket.terminate()
        return
      }
      write(socket)
    },
    end(socket) {
      fail('the client ended early')
      socket.end()
    },
    close: (_socket, error) => fail(`closed ${error ?? ''}`),
    error: (_socket, error) => fail(String(error)),
  }
  // Bun documents no way to adopt a file descriptor in its types.
  const options = {
    fd: restored.give((fd) => fd),
    allowHalfOpen: true,
    socket: handlers,
  } as unknown as TCPSocketConnectOptions<unknown>
  await Bun.connect(options)
}

const config = await loadConfig('server', process.argv[2] ?? '')
const redirector = new TcRedirector({ device: config.device, capacity: config.limits.flows })
if (requestedSabotage() === 'loud-target') redirector.put = async () => 'active'
const agent = await ServerAgent.start(config, { application: { adopt }, redirector })
console.log(JSON.stringify({ event: 'ready' }))
await new Promise((resolve) => process.once('SIGTERM', resolve))
const report: TargetReport = { adopted, uploadInFlight, unsentBytes, failures: failures.slice(0, 20) }
console.log(JSON.stringify(report))
await agent.close()
