/** The redirector that a configuration with flower in the kernel describes. */
import { afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ErrorListener, FlowKey, MacAddress, type Rule } from '@xoffload/core'
import type { RedirectorConfig } from '../../../src/config/index.ts'
import { redirectorCheck } from '../../../src/doctor/checks/redirector.ts'
import { steeringCheck } from '../../../src/doctor/checks/steering.ts'
import { type ConfiguredRedirector, createRedirector, requireNoHardwareRules } from '../../../src/runtime/redirector.ts'
import { gatewayConfig, resultOf } from '../../doctor/support.ts'

// The guest's processor is emulated.
setDefaultTimeout(120_000)

const DEVICE = 'xoveth0'
const policy = { minimumBytes: 0, minimumAge: 0, minimumPacketsPerSecond: 0, idle: 600_000 }
const withFlower: RedirectorConfig = { type: 'tc', hardware: { type: 'flower', flows: 10, policy } }
const rule: Rule = {
  action: 'steer',
  flow: FlowKey.of({ address: '192.0.2.1', port: 40_000 }, { address: '198.51.100.1', port: 80 }),
  target: { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:22') },
  // It is worth hardware at once, without a packet.
  expectedBytes: 2 ** 30,
}

function run(...command: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(command)
  if (!success) throw new Error(`${command.join(' ')}: ${stderr}`)
  return stdout.toString()
}

const errors: unknown[] = []
const onError: ErrorListener = (error) => void errors.push(error)
const create = (redirector: RedirectorConfig): ConfiguredRedirector =>
  createRedirector({ device: DEVICE, flows: 100, redirector, onError })

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${condition}`)
    await Bun.sleep(10)
  }
}

beforeAll(() => void run('modprobe', 'tun'))
beforeEach(() => {
  run('ip', 'link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', 'xoveth1')
  for (const device of [DEVICE, 'xoveth1']) run('ip', 'link', 'set', device, 'up')
})
afterEach(() => {
  run('ip', 'link', 'del', DEVICE)
  expect(errors.splice(0)).toEqual([])
})

const flowerFilters = (): number => run('tc', 'filter', 'show', 'dev', DEVICE, 'ingress').split('192.0.2.1').length - 1

test('a flow that is worth it has a rule in flower, in front of the one at tc, and both go', async () => {
  const { redirector, hardware } = create(withFlower)
  await redirector.open()
  await redirector.put(rule)
  await until(() => hardware?.()?.promoted === 1 && flowerFilters() === 1)
  expect(redirector.manifest).toMatchObject({ name: 'tc+flower', holds: true })
  await redirector.close()
  expect(run('tc', 'filter', 'show', 'dev', DEVICE, 'ingress')).toBe('')
  // What it counted last can be asked for still.
  expect(hardware?.()?.promoted).toBe(1)
})

test('rules that a gateway has left: another one without hardware is refused, one with it adopts them', async () => {
  const first = create(withFlower)
  await first.redirector.open()
  await first.redirector.put(rule)
  await until(() => flowerFilters() === 1)
  await first.redirector.release()
  expect(() => requireNoHardwareRules(DEVICE)).toThrow(
    `configure redirector.hardware as it was, or remove them with "tc filter del dev ${DEVICE} ingress prio 60"`,
  )
  const next = create(withFlower)
  await next.redirector.open()
  expect(next.hardware?.()?.offloaded).toBe(1)
  await next.redirector.close()
  requireNoHardwareRules(DEVICE)
})

test('the doctor finds it in order', async () => {
  // The guest and its files go together.
  const config = await gatewayConfig(mkdtempSync(join(tmpdir(), 'xoffload-')), {
    config: { device: DEVICE, redirector: { hardware: { type: 'flower' } } },
  })
  expect(await resultOf(redirectorCheck, { role: 'gateway', config })).toMatchObject({
    status: 'ok',
    text: expect.stringContaining('flower filters'),
  })
  expect(await resultOf(steeringCheck, { role: 'gateway', config })).toMatchObject({ status: 'ok' })
})
