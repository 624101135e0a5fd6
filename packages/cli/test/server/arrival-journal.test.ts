/** What a server's next process finds of the connections that a server program still has. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Arrival, FlowKey } from '@xoffload/core'
import { ArrivalJournal } from '../../src/server/arrival-journal.ts'

const arrival = (port: number): Arrival => ({
  flow: FlowKey.of({ address: '192.0.2.1', port }, { address: '198.51.100.1', port: 80 }),
  host: 'gateway',
  handoff: 2 ** 40 + port,
  epoch: 4_000_000_000,
})

let folder: string
let path: string
const errors: unknown[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xoffload-journal-'))
  path = join(folder, 'connections')
  errors.length = 0
})
afterEach(() => {
  rmSync(folder, { recursive: true })
  expect(errors).toEqual([])
})

const open = () => ArrivalJournal.open(path, (error) => errors.push(error))
const found = (journal: ArrivalJournal) =>
  [...journal.arrivals].map(([cookie, { flow, ...rest }]) => ({ cookie, flow: `${flow}`, ...rest }))
const expected = (cookie: bigint, port: number) => ({ ...arrival(port), cookie, flow: `${arrival(port).flow}` })

test('a process that is killed leaves what it had', () => {
  const journal = open()
  journal.add(1n, arrival(1))
  journal.add(2n ** 60n, arrival(2))
  journal.add(3n, arrival(3))
  journal.remove(1n)
  const next = open()
  expect([journal.continues, next.continues, next.instance]).toEqual([false, true, journal.instance])
  expect(found(next)).toEqual([expected(2n ** 60n, 2), expected(3n, 3)])
  expect(statSync(path).mode & 0o777).toBe(0o600)
  next.close()
  journal.close()
})

test('half a line and what is none are left out', () => {
  const journal = open()
  journal.add(1n, arrival(1))
  const [, line = ''] = readFileSync(path, 'utf8').split('\n')
  appendFileSync(
    path,
    ['{}', 'null', '[1]', '{"cookie":"x"}', '{"cookie":"7","flow":"00"}', line.slice(0, 40)].join('\n'),
  )
  journal.close()
  const next = open()
  expect(found(next)).toEqual([expected(1n, 1)])
  next.close()
})

test('the file stays small, and is removed when there is nothing in it', () => {
  const journal = open()
  journal.add(1n, arrival(1))
  for (let count = 2; count < 30_000; count++) {
    journal.add(BigInt(count), arrival(count))
    journal.remove(BigInt(count))
  }
  expect(statSync(path).size).toBeLessThan(3_000_000)
  journal.remove(1n)
  journal.close()
  journal.close()
  expect(existsSync(path)).toBe(false)
})
