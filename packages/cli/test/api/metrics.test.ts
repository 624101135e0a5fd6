import { expect, test } from 'bun:test'
import { HybridRedirector } from '@xoffload/core'
import { MemoryDevice, MemoryRedirector, NIC_PROFILES, NicModel } from '@xoffload/core/simulation'
import { createApi } from '../../src/api/create-api.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { FakeGateway, handoff } from './fake-gateway.ts'

const memory = () => new MemoryRedirector({ device: new MemoryDevice(systemClock) })
const nic = () => new NicModel({ clock: systemClock, profile: NIC_PROFILES.cx5, table: memory() })

/** The samples of a text in Prometheus' format: `name{labels}` to value. */
async function scrape(app: ReturnType<typeof createApi>): Promise<Map<string, number>> {
  const response = await app.handle(new Request('http://gateway/metrics'))
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toStartWith('text/plain; version=0.0.4')
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const [, name, value] = /^([a-z_]+(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? []
      if (name === undefined) throw new Error(`no sample: ${line}`)
      return [name, Number(value)] as const
    }),
  )
}

test('what the gateway has and has done', async () => {
  const gateway = new FakeGateway({ flows: 9 })
  const app = createApi(gateway)
  const expected = {
    'xoffload_flows{server="s1",state="moving"}': 0,
    'xoffload_flows{server="s1",state="steered"}': 3,
    'xoffload_flows{server="s1",state="ended"}': 2,
    'xoffload_flows{server="s2",state="steered"}': 3,
    'xoffload_flows{server="s2",state="ended"}': 1,
    'xoffload_server_up{server="s1"}': 1,
    'xoffload_server_up{server="s2"}': 0,
    'xoffload_server_draining{server="s1"}': 0,
    'xoffload_server_connections{server="s1"}': 2,
    'xoffload_handoffs_total{direction="gateway-to-server",result="handed-off"}': 5,
    'xoffload_handoffs_total{direction="server-to-server",result="rolled-back"}': 1,
    xoffload_accepted_connections_total: 10,
    xoffload_relayed_connections_total: 4,
    xoffload_held_packets_total: 30,
    xoffload_held_packets_dropped_total: 2,
    xoffload_mended_rules_total: 1,
  }
  // Counters are the gateway's: they do not grow by being read.
  for (let round = 0; round < 2; round++) {
    expect(Object.fromEntries(await scrape(app))).toMatchObject(expected)
  }
  gateway.drain('s1')
  gateway.list = gateway.list.slice(0, 1)
  const samples = await scrape(app)
  expect(samples.get('xoffload_server_draining{server="s1"}')).toBe(1)
  expect(samples.has('xoffload_server_up{server="s2"}')).toBe(false)
})

test('what the redirector does not count is absent', async () => {
  const gateway = new FakeGateway()
  const { heldPackets: _, droppedHeldPackets: __, ...counts } = gateway.counts()
  gateway.counts = () => counts
  const names = [...(await scrape(createApi(gateway))).keys()]
  expect(names.filter((name) => name.startsWith('xoffload_held'))).toEqual([])
  expect(names).toContain('xoffload_mended_rules_total')
})

test('what hardware has and has done', async () => {
  const gateway = new FakeGateway()
  const hybrid = new HybridRedirector({ software: memory(), hardware: nic(), clock: systemClock })
  await hybrid.open()
  const counts = gateway.counts()
  const { queue, ...statistics } = hybrid.statistics()
  await hybrid.close()
  const time = { count: 3, p50: 500, p99: 2000, max: 2500 }
  const hardware = {
    ...statistics,
    ...{ offloaded: 2, promoted: 5, passedOver: 4, demoted: { ...statistics.demoted, idle: 3 } },
    queue: {
      ...queue,
      inserted: 5,
      cancelled: { waiting: 1, executing: 2, installed: 3 },
      stalled: true,
      insertionTime: time,
    },
  }
  gateway.counts = () => ({ ...counts, hardware })
  expect(Object.fromEntries(await scrape(createApi(gateway)))).toMatchObject({
    xoffload_hardware_rules: 2,
    xoffload_hardware_promotions_total: 5,
    xoffload_hardware_passed_over_total: 4,
    'xoffload_hardware_demotions_total{reason="idle"}': 3,
    'xoffload_hardware_demotions_total{reason="lost"}': 0,
    'xoffload_hardware_commands_total{command="insert",result="done"}': 5,
    'xoffload_hardware_commands_total{command="insert",result="cancelled"}': 6,
    'xoffload_hardware_commands_total{command="remove",result="unproven"}': 0,
    'xoffload_hardware_waiting_commands{command="remove"}': 0,
    'xoffload_hardware_command_seconds{command="insert",phase="execution",quantile="0.99"}': 0.002,
    xoffload_hardware_stalled: 1,
  })
})

test('without hardware there is nothing about it', async () => {
  const names = [...(await scrape(createApi(new FakeGateway()))).keys()]
  expect(names.filter((name) => name.startsWith('xoffload_hardware'))).toEqual([])
})

test('step times of handoffs, in seconds', async () => {
  const gateway = new FakeGateway()
  const ended = new AbortController()
  const app = createApi(gateway, { signal: ended.signal })
  gateway.emit({ type: 'handoff', handoff: handoff(1) })
  gateway.emit({ type: 'handoff', handoff: handoff(2) })
  gateway.emit({ type: 'server-up', server: 's1' })
  const samples = await scrape(app)
  const of = (metric: string, step: string, bound = '') =>
    samples.get(`xoffload_handoff_step_seconds_${metric}{${bound}direction="gateway-to-server",step="${step}"}`)
  expect(of('count', 'lock')).toBe(2)
  expect(of('sum', 'lock')).toBeCloseTo(24e-6, 9)
  expect(of('bucket', 'lock', 'le="0.00001",')).toBe(0)
  expect(of('bucket', 'lock', 'le="0.000025",')).toBe(2)
  expect(of('bucket', 'total', 'le="0.001",')).toBe(2)
  expect(of('count', 'freeze')).toBeUndefined()
  ended.abort()
  expect(gateway.listeners.size).toBe(0)
})

test('of the process', async () => {
  const samples = await scrape(createApi(new FakeGateway()))
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e6)
  expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0)
  expect(Math.abs((samples.get('process_start_time_seconds') ?? 0) * 1000 - Date.now())).toBeLessThan(3_600_000)
  if (process.platform === 'linux') expect(samples.get('process_max_fds')).toBeGreaterThan(0)
  for (const [name, value] of samples) expect([name, Number.isFinite(value)]).toEqual([name, true])
})

test('the event loop turns while flows are counted, and readers at the same time share one count', async () => {
  const gateway = new FakeGateway({ flows: 100_000 })
  const app = createApi(gateway)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await Promise.all([scrape(app), scrape(app), scrape(app)])
  clearInterval(timer)
  expect(turns).toBeGreaterThan(5)
  expect(gateway.taken).toBe(100_000)
})
