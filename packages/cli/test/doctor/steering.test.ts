/** The check of the configured redirector on the configured device: here a loopback device, which can do next to nothing. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { steeringCheck } from '../../src/doctor/checks/steering.ts'
import { gatewayConfig, resultOf, serverConfig } from './support.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xoffload-doctor-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function steering(redirector: object) {
  return resultOf(steeringCheck, { role: 'gateway', config: await gatewayConfig(folder, { config: { redirector } }) })
}

test.each([
  [{}, 'lo steers at tc'],
  [{ type: 'xdp' }, 'lo is free for XDP'],
  [{ hardware: { type: 'flower' } }, 'lo steers at tc; lo steers in hardware (flower) in mode l2'],
])('%j is in order', async (redirector, text) => {
  expect(await steering(redirector)).toEqual({ status: 'ok', text: expect.stringContaining(text) })
})

test.each([
  ['cx-flower', /^lo cannot steer flows: it is no ConnectX card: .*mlx5_core/],
  ['agilio', /^lo cannot steer flows: it is no Agilio SmartNIC: .*nfp/],
])('a device that is no %s', async (type, text) => {
  await expect(steering({ hardware: { type } })).rejects.toThrow(text)
})

test('an output that does not exist', async () => {
  expect(await steering({ hardware: { type: 'flower', output: 'nosuchdevice0' } })).toEqual({
    status: 'failed',
    text: expect.stringContaining('there is no device nosuchdevice0'),
  })
})

test('a server has no choice, and a device that is missing is said elsewhere', async () => {
  const config = await gatewayConfig(folder, { config: { device: 'nosuchdevice0' } })
  expect(await steeringCheck.run({ role: 'gateway', config })).toBeUndefined()
  expect(await steeringCheck.run({ role: 'server', config: await serverConfig(folder) })).toBeUndefined()
  expect(await steeringCheck.run({ role: 'gateway' })).toBeUndefined()
})
