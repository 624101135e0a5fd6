import { HttpServer } from '@xoffload/proxy-adapters/bun'
import { type Figure, median, printFigure } from '@xoffload/testbed'
import type { BenchOptions } from './main.ts'

/**
 * What `HttpServer` costs, compared with `Bun.serve` and the same handler: requests per second under `wrk -t1 -c32` on loopback
 * and the server's CPU time per request, which a busy machine disturbs less. The cases take turns, so both meet the same disturbance.
 */

const CASES = ['bun-serve', 'xoffload'] as const
type Case = (typeof CASES)[number]

const SIZES = [4096, 65_536, 1_048_576]

const ROUNDS = 5
/** Of each measurement. */
const SECONDS = 2

interface Sample {
  readonly requestsPerSecond: number
  readonly cpuMicroseconds: number
}

/** Measures and prints. Needs `wrk`. */
export async function run({ json }: BenchOptions): Promise<void> {
  const servers = new Map<Case, ServerProcess>()
  for (const name of CASES) servers.set(name, await ServerProcess.start(name))
  try {
    for (const size of SIZES) {
      const samples = await measure(servers, size)
      for (const figure of report(size, samples)) printFigure(figure, json)
    }
  } finally {
    for (const server of servers.values()) server.stop()
  }
}

type Samples = Map<Case, Sample[]>

async function measure(servers: Map<Case, ServerProcess>, size: number): Promise<Samples> {
  const samples: Samples = new Map(CASES.map((name) => [name, []]))
  // The first round warms the compilers up and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, server] of servers) {
      const sample = await server.load(size, round === 0 ? 1 : SECONDS)
      if (round > 0) samples.get(name)?.push(sample)
      console.error(
        `http-server ${size} bytes, round ${round} of ${ROUNDS}, ${name}: ${sample.requestsPerSecond.toFixed(0)}/s`,
      )
    }
  }
  return samples
}

function* report(size: number, samples: Samples): Generator<Figure> {
  const middle = (name: Case, key: keyof Sample) => median((samples.get(name) ?? []).map((sample) => sample[key]))
  for (const name of CASES) {
    for (const [key, metric, unit] of [
      ['requestsPerSecond', 'requests_per_s', '1/s'],
      ['cpuMicroseconds', 'server_cpu', 'us/request'],
    ] as const) {
      const value = middle(name, key)
      const compared = name === 'bun-serve' ? {} : { ratio: value / middle('bun-serve', key), to: 'bun-serve' }
      yield {
        bench: 'http-server',
        case: name,
        size,
        metric,
        unit,
        value,
        n: samples.get(name)?.length ?? 0,
        ...compared,
      }
    }
  }
}

interface Usage {
  readonly requests: number
  readonly cpuMicroseconds: number
}

/** A server in a process of its own, so that its CPU time is its own. */
class ServerProcess {
  readonly #process: Bun.Subprocess
  readonly #port: number
  #answer: ((usage: Usage) => void) | undefined

  private constructor(process: Bun.Subprocess, port: number) {
    this.#process = process
    this.#port = port
  }

  static async start(name: Case): Promise<ServerProcess> {
    const { promise, resolve } = Promise.withResolvers<number>()
    let answer: (usage: Usage) => void = () => undefined
    const child = Bun.spawn([process.execPath, import.meta.path, name], {
      stdout: 'inherit',
      stderr: 'inherit',
      ipc: (message: { port?: number; usage?: Usage }) => {
        if (message.port !== undefined) resolve(message.port)
        if (message.usage !== undefined) answer(message.usage)
      },
    })
    const server = new ServerProcess(child, await promise)
    answer = (usage) => server.#answer?.(usage)
    return server
  }

  async load(size: number, seconds: number): Promise<Sample> {
    const before = await this.#usage()
    const wrk = Bun.spawn(['wrk', '-t1', '-c32', `-d${seconds}s`, `http://127.0.0.1:${this.#port}/${size}`], {
      stdout: 'pipe',
    })
    const output = await new Response(wrk.stdout).text()
    const rate = /Requests\/sec:\s*([\d.]+)/.exec(output)?.[1]
    if (rate === undefined || /Socket errors|Non-2xx/.test(output)) throw new Error(`wrk failed:\n${output}`)
    const after = await this.#usage()
    const cpuMicroseconds = (after.cpuMicroseconds - before.cpuMicroseconds) / (after.requests - before.requests)
    return { requestsPerSecond: Number(rate), cpuMicroseconds }
  }

  stop(): void {
    this.#process.kill()
  }

  #usage(): Promise<Usage> {
    const { promise, resolve } = Promise.withResolvers<Usage>()
    this.#answer = resolve
    this.#process.send('usage')
    return promise
  }
}

/** The server process: the same handler behind either server. */
function serve(name: Case): void {
  const bodies = new Map(SIZES.map((size) => [String(size), new Uint8Array(size).fill(0x61)]))
  let requests = 0
  const fetch = (request: Request) => {
    requests++
    const body = bodies.get(request.url.slice(request.url.lastIndexOf('/') + 1))
    return body === undefined ? new Response(null, { status: 404 }) : new Response(body)
  }
  const address = { hostname: '127.0.0.1', port: 0 }
  const { port } = name === 'bun-serve' ? Bun.serve({ ...address, fetch }) : new HttpServer({ fetch }).listen(address)
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send?.({ usage: { requests, cpuMicroseconds: user + system } satisfies Usage })
  })
  process.send?.({ port })
}

// This file is the server processes' program as well.
if (import.meta.main) {
  const name = CASES.find((known) => known === process.argv[2])
  if (name !== undefined) serve(name)
}
