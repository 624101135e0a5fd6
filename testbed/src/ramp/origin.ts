/**
 * The gateway of a ramp run, a program of its own: begins to serve each connection itself and hands it over in mid-stream.
 *
 *     bun origin.ts GATEWAY-CONFIG
 *
 * Prints `{"event":"ready"}` when every server is connected, and at SIGTERM one line with what it saw.
 */
import {
  type EndedMessage,
  type FlowKey,
  HandoffCoordinator,
  type HandoffOutcome,
  type TcpSnapshot,
} from '@xoffload/core'
import { flowOf, Rtnetlink, UnsettledConnectionError } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { Socket } from 'bun'
import {
  type ControlChannel,
  ControlConnector,
  helloOf,
  loadConfig,
  readCredentials,
  SocketOrigin,
  systemClock,
} from 'xoffload'
import { encodeProgress, RampConnection } from './connection.ts'
import { decodePlan, PLAN_LENGTH } from './plan.ts'
import { requestedSabotage, requestedUnacknowledged, SabotagedRules, sabotagedOrigin } from './sabotage.ts'

/** How long a rule catches late packets, in milliseconds. */
const LINGER = 1000
/** Until it is offered again, in milliseconds. */
const RETRY_PAUSE = 10
/** How long handoffs may take at the end, in milliseconds. */
const LAST_WORD = 5000
/** How often a connection is offered before it is given up. */
const ATTEMPTS = 3
/** When a socket that was not frozen says something, in milliseconds. */
const SAID_AFTER = 300

/** What the origin saw of a whole run. */
export interface OriginReport {
  readonly handedOff: number
  readonly failures: readonly string[]
  /** Connections with bytes in a queue of their snapshot. */
  readonly queues: { readonly received: number; readonly sent: number; readonly unsent: number }
  /** Handoffs that were tried again: a packet had passed the lock before it was there, and arrived late. */
  readonly rolledBack: number
  /** Connections whose frozen socket got a packet of the client after its snapshot, and was given up all the same. */
  readonly swallowed: number
  /** Frames of held flows that were discarded. */
  readonly discarded: number
  /** Whole handoffs, microseconds, ascending. */
  readonly times: readonly number[]
}

const config = await loadConfig('gateway', process.argv[2] ?? '')
const sabotage = requestedSabotage()
const unacknowledged = requestedUnacknowledged()
const maximumHeldBytes = sabotage === 'drop-held' ? 0 : 64 * 1024 * 1024
const redirector = new TcRedirector({ device: config.device, capacity: config.limits.flows, maximumHeldBytes })
await redirector.open()
const origin = new HandoffCoordinator({
  redirector: new SabotagedRules(redirector, sabotage, {
    onHeld: (flow) => onHeld.get(flow.id)?.(),
    onSteered: (flow) => trace('steered', flow),
    swallowed: (flow) => hasSwallowed(flow),
  }),
  clock: systemClock,
  epoch: process.pid,
  maximumHandoffs: config.limits.handoffs,
  onError: (error, { flow, step }) => failures.push(`${flow} ${step}: ${error}`),
})
const failures: string[] = []
const times: number[] = []
const queues = { received: 0, sent: 0, unsent: 0 }
let [swallowed, rolledBack] = [0, 0]
/** The handoffs that are under way. */
const moves = new Set<Promise<void>>()
/** What to do when a flow was locked, by `FlowKey.id`. */
const onHeld = new Map<string, () => void>()
/** The connections with a snapshot that are not given up yet, by `FlowKey.id`. */
const frozen = new Map<string, SocketOrigin>()
const destinations: Parameters<HandoffCoordinator['handOff']>[1][] = []
let next = 0

const mac = new Rtnetlink().link(config.device)?.mac
if (mac === undefined) throw new Error(`no device ${config.device}`)
const credentials = await readCredentials(config.control)
await new Promise<void>((resolve) => {
  new ControlConnector({
    peers: config.servers.map(({ name, control }) => ({ name, endpoint: control })),
    credentials,
    hello: helloOf({ host: config.name, mac, maximumHandoffs: 0 }),
    onUp(channel: ControlChannel, hello) {
      destinations.push({ channel, steer: { mode: 'l2', mac: hello.mac } })
      if (destinations.length === config.servers.length) resolve()
    },
    onMessage(channel, message) {
      if (message.type === 'ended') ended(channel, message)
      else origin.receive(channel, message)
    },
    onDown: (channel, reason) => failures.push(`${channel.host}: ${reason.message}`),
  })
})

/** Which handoff a flow's rule is of: a client may use its port again while the rule of its earlier connection lingers. */
const current = new Map<string, { handoff?: number; earlyEnd?: () => void }>()

/** The rule stays for a while, for late packets. */
function ended(channel: ControlChannel, message: EndedMessage): void {
  const { flow, handoff } = message
  const entry = current.get(flow.id)
  if (entry === undefined) return
  if (entry.handoff === undefined) {
    // Told in one breath with the outcome: the handoff's number is known in a moment.
    entry.earlyEnd = () => ended(channel, message)
    return
  }
  if (entry.handoff !== handoff) return
  const target = destinations.find((destination) => destination.channel === channel)?.steer
  if (target === undefined) return
  origin.ended(flow)
  void redirector.put({ action: 'steer', flow, target, ended: true })
  setTimeout(() => {
    if (current.get(flow.id) !== entry) return
    current.delete(flow.id)
    void redirector.remove(flow)
  }, LINGER)
}

/** Whether a packet of the client has ended in the frozen socket. */
function hasSwallowed(flow: FlowKey): boolean {
  try {
    frozen.get(flow.id)?.verify()
    return false
  } catch (error) {
    if (error instanceof UnsettledConnectionError) return true
    throw error
  }
}

/** A line for who compares with what passes on the wire. */
function trace(event: string, flow: FlowKey): void {
  if (process.env.XOFFLOAD_TRACE !== undefined) {
    console.log(JSON.stringify({ trace: event, flow: `${flow}`, at: Date.now() }))
  }
}

class RampOriginConnection {
  readonly #socket: Socket<RampOriginConnection>
  #head: Uint8Array = new Uint8Array()
  #ramp: RampConnection | undefined
  #late: Uint8Array[] = []
  #beginning: ReturnType<typeof setImmediate> | undefined
  #origin: SocketOrigin | undefined

  constructor(socket: Socket<RampOriginConnection>) {
    this.#socket = socket
  }

  data(chunk: Uint8Array): void {
    if (this.#origin !== undefined) {
      this.#late.push(chunk.slice())
      return
    }
    let upload = chunk
    if (this.#ramp === undefined) {
      this.#head = Buffer.concat([this.#head, chunk])
      if (this.#head.length < PLAN_LENGTH) return
      const plan = decodePlan(this.#head)
      this.#ramp = new RampConnection(this.#socket, { plan, downloaded: 0, uploaded: 0 }, plan.moveAt)
      upload = this.#head.subarray(PLAN_LENGTH)
    }
    try {
      this.#ramp.read(upload)
    } catch (error) {
      failures.push(String(error))
      this.#socket.terminate()
      return
    }
    this.drain()
  }

  drain(): void {
    if (this.#ramp === undefined || this.#origin !== undefined || !this.#ramp.write()) return
    this.#socket.pause()
    const ramp = this.#ramp
    // Not in this turn of the event loop: it may be about to read the socket still, and takes what a frozen one says to that (EPERM) as
    // its end.
    this.#beginning ??= setImmediate(() => this.#begin(ramp))
  }

  close(): void {
    this.#origin?.closed()
  }

  #begin(ramp: RampConnection, attempt = 1): void {
    const { fd } = this.#socket as unknown as { fd: number }
    const origin = new SocketOrigin({
      flow: flowOf(fd),
      fd,
      received: () => Buffer.concat(this.#late),
      terminate: () => this.#socket.terminate(),
    })
    this.#origin = origin
    const move = this.#move(origin, ramp, attempt).finally(() => moves.delete(move))
    moves.add(move)
  }

  async #move(connection: SocketOrigin, ramp: RampConnection, attempt: number): Promise<void> {
    const destination = destinations[next++ % destinations.length]
    if (destination === undefined) throw new Error('no server')
    const counted = sabotagedOrigin(connection, sabotage, {
      onSnapshot: (snapshot) => this.#onSnapshot(snapshot),
      onRelease: () => {
        if (hasSwallowed(connection.flow)) swallowed++
        frozen.delete(connection.flow.id)
      },
    })
    const entry: { handoff?: number; earlyEnd?: () => void } = {}
    current.set(connection.flow.id, entry)
    const { progress } = ramp
    if (unacknowledged > 0) onHeld.set(connection.flow.id, () => ramp.writeMore(unacknowledged))
    const application = encodeProgress({ ...progress, downloaded: progress.downloaded + unacknowledged })
    const outcome = await origin.handOff(counted, destination, application)
    onHeld.delete(connection.flow.id)
    entry.handoff = outcome.handoff
    entry.earlyEnd?.()
    if (outcome.result === 'rolled-back' && attempt < ATTEMPTS) {
      rolledBack++
      connection.resumed()
      // The server still withdraws what it has restored.
      setTimeout(() => this.#begin(ramp, attempt + 1), RETRY_PAUSE)
    } else {
      this.#report(outcome, connection)
    }
  }

  #onSnapshot({ flow, receive, send }: TcpSnapshot): void {
    if (receive.queue.length > 0) queues.received++
    if (send.sent.length > 0) queues.sent++
    if (send.unsent.length > 0) queues.unsent++
    if (this.#origin !== undefined) frozen.set(flow.id, this.#origin)
    trace('frozen', flow)
    // What a socket that was not frozen would do, at a time when nothing else is said.
    if (sabotage === 'no-freeze') setTimeout(() => this.#socket.write('heard'), SAID_AFTER)
  }

  #report(outcome: HandoffOutcome, { flow }: SocketOrigin): void {
    if (outcome.result === 'handed-off') {
      times.push(outcome.times.total)
      return
    }
    failures.push(`${flow}: ${outcome.result} ${JSON.stringify(outcome.failure)}`)
    this.#socket.terminate()
  }
}

for (const { address, port } of config.service) {
  Bun.listen<RampOriginConnection>({
    hostname: address,
    port,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.data = new RampOriginConnection(socket)
      },
      data: (socket, chunk) => socket.data.data(chunk),
      drain: (socket) => socket.data.drain(),
      close: (socket) => socket.data.close(),
    },
  })
}
console.log(JSON.stringify({ event: 'ready' }))
await new Promise((resolve) => process.once('SIGTERM', resolve))
// A client may have all of its bytes before its target's last word is here.
await Promise.race([Promise.all(moves), Bun.sleep(LAST_WORD)])
times.sort((a, b) => a - b)
const report: OriginReport = {
  handedOff: times.length,
  failures: failures.slice(0, 20),
  queues,
  rolledBack,
  swallowed,
  discarded: redirector.statistics().droppedHeldFrames,
  times: times.map(Math.round),
}
// Longer than a pipe holds: it must be out before the exit.
await Bun.write(Bun.stdout, `${JSON.stringify(report)}\n`)
await origin.close()
await redirector.close()
process.exit()
