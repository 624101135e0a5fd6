import { HttpServer } from '../../packages/proxy-adapters/src/bun/index.ts'

/**
 * What `HttpServer` costs, compared with `Bun.serve` and the same handler: requests per second under `wrk -t1 -c32` on loopback
 * and the server's CPU time per request, which a busy machine disturbs less. The cases take turns, so both meet the same disturbance.
 */

const CASES = ['bun-serve', 'xoffload'] as const
type Case = (typeof CASES)[number]

const SIZES = [4096, 65_536, 1_048_576]

export interface HttpServerBenchOptions {
  /** One JSON object a line on stdout instead of text. */
  readonly json: boolean
  readonly rounds?: number
  /** Seconds of each measurement. */
  readonly seconds?: number
}

interface Sample {
  readonly requestsPerSecond: number
  readonly cpuMicroseconds: number
}

/** Measures and prints. Needs `wrk`. */
export async function run({ json, rounds = 5, seconds = 2 }: HttpServerBenchOptions): Promise<void> {
  const servers = new Map<Case, ServerProcess>()
  for (const name of CASES) servers.set(name, await ServerProcess.start(name))
  try {
    for (const size of SIZES) {
      const samples = await measure(servers, size, rounds, seconds)
      for (const line of report(size, samples)) console.log(json ? JSON.stringify(line) : text(line))
    }
  } finally {
    for (const server of servers.values()) server.stop()
  }
}

type Samples = Map<Case, Sample[]>

async function measure(servers: Map<Case, ServerProcess>, size: number, rounds: number, seconds: number): Promise<Samples> {
  const samples: Samples = new Map(CASES.map((name) => [name, []]))
  // The first round warms the compilers up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const [name, server] of servers) {
      const sample = await server.load(size, round === 0 ? 1 : seconds)
      if (round > 0) samples.get(name)?.push(sample)
      console.error(`http-server ${size} bytes, round ${round} of ${rounds}, ${name}: ${sample.requestsPerSecond.toFixed(0)}/s`)
    }
  }
  return samples
}

interface Line {
  readonly bench: 'http-server'
  readonly case: Case
  readonly size: number
  readonly metric: 'requests_per_s' | 'server_cpu'
  readonly unit: '1/s' | 'us/request'
  readonly value: number
  readonly n: number
  readonly ratio?: number
  readonly to?: Case
}

function* report(size: number, samples: Samples): Generator<Line> {
  const median = (name: Case, key: keyof Sample) => middle((samples.get(name) ?? []).map((sample) => sample[key]))
  for (const name of CASES) {
    for (const [key, metric, unit] of [
      ['requestsPerSecond', 'requests_per_s', '1/s'],
      ['cpuMicroseconds', 'server_cpu', 'us/request'],
    ] as const) {
      const value = median(name, key)
      const compared = name === 'bun-serve' ? {} : { ratio: value / median('bun-serve', key), to: 'bun-serve' as const }
      yield { bench: 'http-server', case: name, size, metric, unit, value, n: samples.get(name)?.length ?? 0, ...compared }
    }
  }
}

function middle(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function text({ size, case: name, metric, value, unit, ratio }: Line): string {
  const compared = ratio === undefined ? '' : `  ${(ratio * 100).toFixed(0)} % of bun-serve`
  return `${String(size).padStart(8)} bytes  ${name.padEnd(10)} ${metric.padEnd(15)} ${value.toFixed(1).padStart(10)} ${unit}${compared}`
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
    let server: ServerProcess | undefined
    const child = Bun.spawn([process.execPath, import.meta.path, name], {
      stdout: 'inherit',
      stderr: 'inherit',
      ipc: (message: { port?: number; usage?: Usage }) => {
        if (message.port !== undefined) resolve(message.port)
        if (message.usage !== undefined) server?.#answer?.(message.usage)
      },
    })
    server = new ServerProcess(child, await promise)
    return server
  }

  async load(size: number, seconds: number): Promise<Sample> {
    const before = await this.#usage()
    const wrk = Bun.spawn(['wrk', '-t1', '-c32', `-d${seconds}s`, `http://127.0.0.1:${this.#port}/${size}`], { stdout: 'pipe' })
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

if (import.meta.main) {
  const name = CASES.find((known) => known === process.argv[2])
  if (name !== undefined) serve(name)
  else await run({ json: process.argv.includes('--json') })
}
