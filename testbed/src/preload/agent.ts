// A program for one host: accepts connections and gives each to a server program on the same host, as an agent gives those that were
// handed to its host. Its only argument is an `AdoptingAgentOptions` in JSON. Prints `ready`, a line for each error, and on SIGUSR1 an
// `AdoptingAgentReport` in JSON.
import { type PreloadAdoptOptions, PreloadServer } from '@xoffload/proxy-adapters/preload'
import { acceptConnections } from './accept-connections.ts'
import type { AdoptingAgentOptions, AdoptingAgentReport } from './adopting-agent.ts'

const options: AdoptingAgentOptions = JSON.parse(process.argv[2] ?? '')
const report = { adopted: 0, failed: 0, takenBack: 0, latencies: [] as number[] }

const server = await PreloadServer.open({
  socket: options.socket,
  listener: options.listener,
  users: options.users,
  askTimeout: 1000,
  onError: (error) => process.stdout.write(`error: ${error}\n`),
})

/** Takes the connection back before some of its requests, and lets it go on. */
function toAndFro(): PreloadAdoptOptions {
  const { every } = options
  if (every === undefined) return {}
  let count = 0
  return {
    route: () => (++count % every === 0 ? 'suspend' : 'serve'),
    onSuspended: (suspended) => {
      report.takenBack += 1
      suspended.resume()
    },
  }
}

function adopt(fd: number): void {
  const began = performance.now()
  server.adopt(fd, toAndFro()).taken.then(
    () => {
      report.adopted += 1
      if (report.latencies.length < 100_000) report.latencies.push(performance.now() - began)
    },
    (error) => {
      report.failed += 1
      process.stdout.write(`error: ${error}\n`)
    },
  )
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((first, second) => first - second)
  return sorted[Math.floor((sorted.length - 1) * part)] ?? 0
}

process.on('SIGUSR1', () => {
  const { adopted, failed, takenBack, latencies } = report
  const [p50, p99] = [quantile(latencies, 0.5), quantile(latencies, 0.99)]
  const line: AdoptingAgentReport = {
    adopted,
    failed,
    takenBack,
    open: server.connections,
    processes: server.processes,
    p50,
    p99,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
})

acceptConnections(options.listen, adopt)
await server.ready({ timeoutMilliseconds: 20_000 })
process.stdout.write('ready\n')
