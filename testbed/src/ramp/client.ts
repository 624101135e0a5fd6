/**
 * The client of a ramp run, a program of its own: opens connections one after another with a fixed number at once, streams the
 * ramp in both directions, and prints one JSON line with what it saw.
 *
 *     bun client.ts ADDRESS PORT CONNECTIONS CONCURRENCY
 */
import type { Pause } from '../pauses/pauses.ts'
import { encodePlan, PLAN_LENGTH, type RampPlan } from './plan.ts'
import { RampReader, RampWriter } from './stream.ts'

/** What the client saw of a whole run. */
export interface RampReport {
  readonly completed: number
  readonly failures: readonly string[]
  /** Longest time without progress of each connection, milliseconds, ascending. */
  readonly stalls: readonly number[]
  /** The times without progress of any connection that were long. */
  readonly long: readonly Pause[]
  readonly bytes: number
  readonly seconds: number
}

/** A connection without progress for so long is given up, in milliseconds. */
const GIVE_UP = 5000

const [address = '', port = '', total = '', concurrency = ''] = process.argv.slice(2)
/** A time without progress that is to be looked at, in milliseconds. */
const LONG = 50
const stalls: number[] = []
const long: Pause[] = []
const failures: string[] = []
let bytes = 0
const watched = new Set<() => void>()
let opened = 0
let finished = 0
const startedAt = performance.now()

/** A third of the connections upload all the time, the others in two parts, before and after the move. */
function planOf(index: number): RampPlan {
  const download = 192 * 1024 + ((index * 7919) % (128 * 1024))
  const upload = index % 3 === 0 ? 1024 * 1024 : 16 * 1024
  return { download, upload, moveAt: Math.floor(download / 3) + ((index * 104729) % Math.floor(download / 3)) }
}

function open(): void {
  const index = opened++
  const plan = planOf(index)
  const continuous = index % 3 === 0
  const reader = new RampReader()
  let writer: RampWriter | undefined
  let planSent = 0
  let progressAt = performance.now()
  let moving = false
  let longest = 0
  let over = false

  const limit = () => (continuous || reader.position > plan.moveAt ? plan.upload : plan.upload / 2)
  const progress = () => {
    const now = performance.now()
    if (moving) {
      longest = Math.max(longest, now - progressAt)
      if (now - progressAt > LONG) {
        long.push({ from: performance.timeOrigin + progressAt, to: performance.timeOrigin + now })
      }
    }
    moving = true
    progressAt = now
  }
  const finish = (failure?: string) => {
    if (over) return
    over = true
    watched.delete(watch)
    finished++
    if (failure === undefined) stalls.push(longest)
    else
      failures.push(
        `connection ${index} (${JSON.stringify(plan)}), ${reader.position} received, ${writer?.position} sent: ${failure}`,
      )
    if (opened < Number(total)) open()
    else if (finished === Number(total)) void report()
  }
  const watch = () => {
    if (performance.now() - progressAt > GIVE_UP) finish('no progress')
  }
  watched.add(watch)
  const send = (socket: import('bun').Socket<unknown>) => {
    if (planSent < PLAN_LENGTH) planSent += Math.max(socket.write(encodePlan(plan).subarray(planSent)), 0)
    if (planSent < PLAN_LENGTH) return
    writer ??= new RampWriter(socket)
    writer.writeUpTo(limit())
  }
  Bun.connect({
    hostname: address,
    port: Number(port),
    allowHalfOpen: true,
    socket: {
      open: send,
      drain: send,
      data(socket, chunk) {
        progress()
        bytes += chunk.length
        try {
          reader.take(chunk)
        } catch (error) {
          finish(String(error))
          socket.terminate()
          return
        }
        if (writer !== undefined && writer.position < limit()) send(socket)
      },
      end(socket) {
        progress()
        const whole = reader.position === plan.download && writer?.position === plan.upload
        finish(whole ? undefined : 'the connection ended early')
        socket.end()
      },
      close: (_socket, error) => finish(`closed ${error ?? ''}`),
      error: (_socket, error) => finish(String(error)),
      connectError: (_socket, error) => finish(String(error)),
    },
  }).catch((error) => finish(String(error)))
}

async function report(): Promise<void> {
  stalls.sort((a, b) => a - b)
  const seconds = (performance.now() - startedAt) / 1000
  const rounded = stalls.map((stall) => Math.round(stall * 10) / 10)
  const result: RampReport = {
    completed: stalls.length,
    failures: failures.slice(0, 20),
    stalls: rounded,
    long,
    bytes,
    seconds,
  }
  // Longer than a pipe holds: it must be out before the exit.
  await Bun.write(Bun.stdout, `${JSON.stringify(result)}\n`)
  process.exit(failures.length === 0 ? 0 : 1)
}

setInterval(() => {
  for (const watch of watched) watch()
}, 250)
for (let index = 0; index < Math.min(Number(concurrency), Number(total)); index++) open()
