import { afterEach, expect, test } from 'bun:test'
import { Audits } from '../../src/server/audits.ts'
import { Inbox } from '../control/support.ts'

let audits: Audits
const answers = new Inbox<string>()
afterEach(() => audits.close())

test('questions that come too fast are answered together, once a second, with the answer to the last one', async () => {
  audits = new Audits((gateway, nonce) => answers.put(`${gateway} ${nonce}`))
  const start = performance.now()
  for (let nonce = 1; nonce <= 1000; nonce++) audits.asked('g1', nonce)
  audits.asked('g2', 7)
  expect(answers.items).toEqual(['g1 1', 'g1 2', 'g1 3', 'g1 4', 'g2 7'])
  expect(await answers.at(5)).toBe('g1 1000')
  audits.asked('g1', 1001)
  expect(await answers.at(6)).toBe('g1 1001')
  expect(performance.now() - start).toBeGreaterThan(1900)
})

test('nothing is answered any more', () => {
  const told: number[] = []
  audits = new Audits((_, nonce) => told.push(nonce))
  for (let nonce = 1; nonce <= 6; nonce++) audits.asked('g', nonce)
  audits.close()
  expect(told).toEqual([1, 2, 3, 4])
})
