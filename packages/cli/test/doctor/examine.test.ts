import { expect, test } from 'bun:test'
import { XoffloadError } from '@xoffload/core'
import { type Check, failed, ok, skipped, warning, worst } from '../../src/doctor/check.ts'
import { examine, type Finding } from '../../src/doctor/examine.ts'

async function findings(checks: readonly Check[], timeLimit?: number): Promise<Finding[]> {
  return Array.fromAsync(examine(checks, {}, timeLimit))
}

test('a check that throws has failed, with what the error says, and the next one runs', async () => {
  const broken: Check = {
    name: 'broken',
    run() {
      throw new XoffloadError('TEST', 'something is missing: install it')
    },
  }
  const rejecting: Check = { name: 'rejecting', run: () => Promise.reject(new TypeError('no such thing')) }
  expect(await findings([broken, rejecting, { name: 'fine', run: () => ok('there') }])).toEqual([
    { check: 'broken', status: 'failed', text: 'something is missing: install it' },
    { check: 'rejecting', status: 'failed', text: expect.stringContaining('no such thing') },
    { check: 'fine', status: 'ok', text: 'there' },
  ])
})

test('a check that does not end has failed when its time is over', async () => {
  const [finding] = await findings([{ name: 'stuck', run: () => new Promise(() => {}) }], 10)
  expect(finding).toMatchObject({ check: 'stuck', status: 'failed', text: expect.stringContaining('10 ms') })
})

test('a check that has no meaning for the host is left out', async () => {
  expect(await findings([{ name: 'none', run: () => undefined }])).toEqual([])
})

test('of several results the worst counts, and says everything that is as bad', () => {
  expect(worst([ok('a'), warning('b'), undefined, skipped('c'), warning('d')])).toEqual(warning('b; d'))
  expect(worst([failed('a'), warning('b')])).toEqual(failed('a'))
  expect(worst([undefined, ok('a')])).toEqual(ok('a'))
})
