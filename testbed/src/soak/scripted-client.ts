/**
 * A client that does one thing after the other, a program of its own:
 *
 *     bun scripted-client.ts ADDRESS PORT STEPS-JSON
 *
 * Prints `{"local":...}` when it is connected, `{"reached":N}` at each `signal`, and at the end a {@link ScriptReport}.
 */
import { formatEndpoint } from '@xoffload/core'
import type { Socket } from 'bun'
import { encodeRequest, expectedResponse, type PlannedRequest } from './plan.ts'
import { ResponseReader } from './response-reader.ts'

/** One thing that the client does. */
export type Step =
  /** Sends requests at once; `keep`: not the last so many bytes of them. */
  | { readonly send: readonly PlannedRequest[]; readonly keep?: number }
  /** Sends what was kept back. */
  | { readonly rest: true }
  /** Waits for all answers, or until no more than so many are missing. */
  | { readonly answers: true; readonly missing?: number }
  /** Waits for SIGUSR2. */
  | { readonly signal: true }
  /** Closes its half of the connection, or resets it. */
  | { readonly close: 'half' | 'reset' }
  /** Waits for the server's FIN. */
  | { readonly fin: true }

/** What the client saw. */
export interface ScriptReport {
  /** The server that answered each request. */
  readonly servedBy: readonly string[]
  /** What was not as it should be. */
  readonly violation?: string
}

const [address = '', port = '', script = ''] = process.argv.slice(2)
const steps: readonly Step[] = JSON.parse(script)
const reader = new ResponseReader()
let outgoing: Uint8Array[] = []
let kept = new Uint8Array()
let finished = false
let resetting = false
let changed = Promise.withResolvers<void>()

const socket = await Bun.connect({
  hostname: address,
  port: Number(port),
  allowHalfOpen: true,
  socket: {
    data(_socket, chunk) {
      try {
        reader.take(chunk)
      } catch (error) {
        report(`${error}`)
      }
      wake()
    },
    drain: write,
    end: () => finish(),
    close: (_socket, error) => (error === undefined ? finish() : report(error.message)),
    error: (_socket, error) => report(error.message),
  },
})
print({ local: formatEndpoint({ address: socket.localAddress, port: socket.localPort }) })
for (const [index, step] of steps.entries()) await run(step, index)
report()

async function run(step: Step, index: number): Promise<void> {
  if ('send' in step) {
    for (const request of step.send) reader.expect(expectedResponse(request))
    const bytes = Buffer.concat(step.send.flatMap((request) => encodeRequest(request, false)))
    kept = bytes.subarray(bytes.length - (step.keep ?? 0))
    outgoing.push(bytes.subarray(0, bytes.length - kept.length))
    await written()
  } else if ('rest' in step) {
    outgoing.push(kept)
    await written()
  } else if ('answers' in step) await until(() => reader.outstanding <= (step.missing ?? 0))
  else if ('signal' in step) {
    const signal = new Promise((resolve) => process.once('SIGUSR2', resolve))
    print({ reached: index })
    await signal
  } else if ('close' in step) {
    if (step.close === 'half') {
      socket.shutdown()
      return
    }
    resetting = true
    socket.terminate()
  } else await until(() => finished)
}

async function written(): Promise<void> {
  write(socket)
  await until(() => outgoing.length === 0)
}

function write(to: Socket<unknown>): void {
  while (outgoing.length > 0) {
    const [piece] = outgoing as [Uint8Array]
    const count = Math.max(to.write(piece), 0)
    if (count < piece.length) {
      outgoing[0] = piece.subarray(count)
      return
    }
    outgoing = outgoing.slice(1)
  }
  wake()
}

function finish(): void {
  finished = true
  const isDue = steps.some((step) => 'fin' in step)
  if (!resetting && (reader.outstanding > 0 || !isDue)) report(`the connection has ended; ${reader.state}`)
  wake()
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await changed.promise
}

function wake(): void {
  changed.resolve()
  changed = Promise.withResolvers()
}

function report(violation?: string): never {
  const result: ScriptReport = { servedBy: reader.servers, ...(violation !== undefined && { violation }) }
  print(result)
  process.exit()
}

function print(line: object): void {
  console.log(JSON.stringify(line))
}
