import type { FlowKey } from '../flow.ts'
import type { OriginConnection, RestoredConnection, Restorer } from '../ports.ts'
import type { NegotiatedOptions, TcpSnapshot } from '../snapshot.ts'
import type { SimulatedFlow } from './flow.ts'
import { SimulatedFailure, type SimulatedProcess } from './process.ts'
import type { FaultBudget } from './redirector.ts'
import { TcpSocket } from './tcp-socket.ts'

/** A process's socket, as a handoff's origin sees it. */
export class SimulatedOrigin implements OriginConnection {
  readonly flow: FlowKey
  readonly #process: SimulatedProcess
  readonly #socket: TcpSocket
  #progress = ''

  constructor(process: SimulatedProcess, socket: TcpSocket) {
    this.#process = process
    this.#socket = socket
    this.flow = socket.flow.key
  }

  freeze(): void {
    this.#process.step('freeze', () => {
      if (this.#socket.closed) throw new SimulatedFailure('the connection has ended')
      this.#socket.frozen = true
    })
  }

  snapshot(): TcpSnapshot {
    return this.#process.step('snapshot', () => {
      const { sabotage, queue } = this.#process.world
      this.#progress = this.#socket.progress
      const snapshot = takeSnapshot(this.#socket)
      const { send, receive } = snapshot
      if (sabotage === 'release-before-steer') queue.after(0, () => this.#socket.close('released'))
      if (sabotage === 'lose-unsent-bytes') return { ...snapshot, send: { ...send, unsent: new Uint8Array() } }
      if (sabotage !== 'end-of-queue') return snapshot
      return { ...snapshot, receive: { ...receive, sequence: (receive.sequence + receive.queue.length) >>> 0 } }
    })
  }

  verify(): void {
    this.#process.step('verify', () => {
      if (this.#socket.progress !== this.#progress) throw new SimulatedFailure('a packet came late')
      this.#socket.silenced = true
    })
  }

  thaw(): void {
    this.#process.step('thaw', () => {
      const { sabotage, queue } = this.#process.world
      if (sabotage === 'unlock-before-thaw') queue.after(5000, () => this.#socket.thaw())
      else this.#socket.thaw()
      this.#process.world.checkSpeakers(this.#socket.flow)
    })
  }

  release(): void {
    this.#process.step('release', () => {
      if (this.#process.world.sabotage === 'thaw-after-commit') this.#socket.thaw()
      else this.#socket.close('released')
    })
  }

  reset(): void {
    const { shared } = this.#socket
    if (shared && this.#process.world.sabotage === 'thaw-for-reset') this.thaw()
    this.#process.step('reset', () => {
      // Thawed for its RST, it would be one that another program goes on with should this process die now. Its client gets the RST that
      // answers its next packet.
      if (shared && this.#socket.frozen) this.#socket.close('given up')
      else this.#socket.reset('given up')
    })
  }
}

function takeSnapshot(socket: TcpSocket): TcpSnapshot {
  try {
    return socket.snapshot()
  } catch (error) {
    throw new SimulatedFailure(String(error))
  }
}

/** A restored socket that no application has yet. */
export class SimulatedRestored implements RestoredConnection {
  readonly flow: FlowKey
  readonly unsent: Uint8Array
  readonly socket: TcpSocket
  readonly #process: SimulatedProcess

  constructor(process: SimulatedProcess, socket: TcpSocket, { flow, send }: TcpSnapshot) {
    this.#process = process
    this.socket = socket
    this.flow = flow
    this.unsent = send.unsent
  }

  acknowledge(): void {
    this.#process.step('acknowledge', () => this.socket.acknowledge())
  }

  discard(): void {
    this.#process.step('discard', () => this.socket.close('discarded'))
  }

  reset(): void {
    this.#process.step('reset', () => this.socket.reset('the target gives it up'))
  }
}

/** Puts snapshots into the kernel of the process's host. */
export class SimulatedRestorer implements Restorer<SimulatedRestored> {
  readonly #process: SimulatedProcess
  readonly #faults: FaultBudget

  constructor(process: SimulatedProcess, faults: FaultBudget) {
    this.#process = process
    this.#faults = faults
  }

  restore(snapshot: TcpSnapshot): SimulatedRestored {
    return this.#process.step('restore', () => {
      const { kernel, world } = this.#process
      const flow = world.flowOf(snapshot.flow)
      if (this.#faults.left > 0 && !world.calm && world.random.chance(0.2)) {
        this.#faults.left -= 1
        throw new SimulatedFailure('the kernel refuses')
      }
      if (kernel.sockets.has(flow)) throw new SimulatedFailure('the address is in use')
      if (!isNegotiated(flow, snapshot.options)) world.violate(6, `${flow}: restored with options not negotiated`)
      const forget = world.sabotage === 'forget-timestamp' && flow.options.timestamp !== undefined
      const options = forget ? { ...snapshot.options, timestamp: kernel.timestampClock } : snapshot.options
      const socket = TcpSocket.restore(kernel, flow, { ...snapshot, options })
      addSocket(this.#process, socket)
      world.checkSpeakers(flow)
      if (world.sabotage === 'speak-before-commit') socket.acknowledge()
      return new SimulatedRestored(this.#process, socket, snapshot)
    })
  }
}

/** Puts a socket into the kernel, until it closes. */
export function addSocket({ kernel, world }: SimulatedProcess, socket: TcpSocket): void {
  const { flow } = socket
  kernel.sockets.set(flow, socket)
  socket.onClosed = (reason) => {
    world.note(() => `${kernel.name}: the socket of ${flow} closes: ${reason}`)
    if (kernel.sockets.get(flow) === socket) kernel.sockets.delete(flow)
  }
}

function isNegotiated({ options }: SimulatedFlow, restored: NegotiatedOptions): boolean {
  return (
    options.maximumSegmentSize === restored.maximumSegmentSize &&
    options.selectiveAcknowledgement === restored.selectiveAcknowledgement &&
    options.windowScale?.send === restored.windowScale?.send &&
    options.windowScale?.receive === restored.windowScale?.receive &&
    (options.timestamp === undefined) === (restored.timestamp === undefined)
  )
}
