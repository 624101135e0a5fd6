import { readFile, stat } from 'node:fs/promises'
import { Counter, Gauge, type Registry } from 'prom-client'

/**
 * The metrics that Prometheus' client libraries have in common (prometheus.io, "Writing client libraries"). Those of prom-client itself
 * belong to Node: under Bun many are zero or not numbers.
 */
export function addProcessMetrics(registry: Registry): void {
  const registers = [registry]
  const start = Date.now() / 1000 - process.uptime()
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time that this process has used, seconds.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'When this process began, seconds since the epoch.',
    registers,
  }).set(start)
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory that this process has, bytes.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  if (process.platform === 'linux') addFileDescriptors(registers)
}

function addFileDescriptors(registers: Registry[]): void {
  new Gauge({
    name: 'process_open_fds',
    help: 'File descriptors that are open; 0 before Linux 6.2.',
    registers,
    async collect() {
      // Linux 6.2 and newer say it as the size of the folder (fs/proc/fd.c); reading a folder of a million entries would stop the gateway.
      this.set((await stat('/proc/self/fd')).size)
    },
  })
  new Gauge({
    name: 'process_max_fds',
    help: 'The most file descriptors that may be open.',
    registers,
    async collect() {
      const limits = await readFile('/proc/self/limits', 'utf8')
      const soft = /^Max open files +(\d+)/m.exec(limits)?.[1]
      if (soft !== undefined) this.set(Number(soft))
    },
  })
}
