import { expect, test } from 'bun:test'
import { RedirectorError } from '../../src/index.ts'
import { settled } from './virtual-clock.ts'
import { flow, queueWorld, steer } from './world.ts'

test('an insertion and its removal before it was started cost the hardware nothing', async () => {
  const { clock, device, queue } = await queueWorld()
  const first = queue.put(steer(flow(1)))
  const second = queue.put(steer(flow(2)))
  await queue.remove(flow(2))
  expect(await second).toEqual({ result: 'withdrawn' })
  await clock.run()
  expect(await first).toEqual({ result: 'installed', outcome: 'active' })
  expect([...device.rules.keys()]).toEqual([flow(1).id])
  expect(queue.statistics()).toMatchObject({ inserted: 1, removed: 0, cancelled: { waiting: 1 } })
})

test('an insertion that is being executed is removed as soon as the hardware has answered', async () => {
  const { clock, device, queue } = await queueWorld()
  const insertion = queue.put(steer(flow(1)))
  await clock.advance(0.1)
  const started = clock.now()
  const removal = queue.remove(flow(1))
  await clock.until(removal)
  expect(clock.now() - started).toBeCloseTo(376 + 404)
  expect(await insertion).toEqual({ result: 'withdrawn' })
  expect([device.rules.size, queue.has(flow(1))]).toEqual([0, false])
  expect(queue.statistics()).toMatchObject({ inserted: 1, removed: 1, cancelled: { executing: 1 } })
})

test('an installed rule is removed before the insertions that came first, and before removals that nobody waits for', async () => {
  const { clock, device, queue } = await queueWorld()
  const done: string[] = []
  for (const number of [1, 2]) await clock.until(queue.put(steer(flow(number))))
  const insertion = queue.put(steer(flow(3))).then(() => done.push('insert 3'))
  const others = [4, 5].map((number) => queue.put(steer(flow(number))).then(() => done.push(`insert ${number}`)))
  for (const number of [1, 2]) queue.discard(flow(number))
  const removal = queue
    .remove(flow(2))
    .then(() => done.push('remove 2', device.rules.has(flow(1).id) ? 'not yet 1' : '1'))
  await clock.run()
  await Promise.all([insertion, removal, ...others])
  expect(done).toEqual(['insert 3', 'remove 2', 'not yet 1', 'insert 4', 'insert 5'])
  expect(device.rules.has(flow(1).id)).toBe(false)
  // Whoever waits does so for one insertion and one removal at most.
  expect(queue.statistics().removalWait.max).toBeLessThanOrEqual(476 + 404)
})

test('of waiting insertions the worthiest goes first, and of equal ones the oldest', async () => {
  const { clock, queue } = await queueWorld()
  const done: number[] = []
  for (const [number, worth] of [
    [1, 0],
    [2, 5],
    [3, 9],
    [4, 5],
  ] as const) {
    void queue.put(steer(flow(number)), { worth }).then(() => done.push(number))
  }
  await clock.run()
  expect(done).toEqual([1, 3, 2, 4])
})

test('a full queue refuses, and takes insertions again when there is room', async () => {
  const { clock, queue } = await queueWorld({ limits: { length: 2 } })
  const results = [1, 2, 3, 4].map((number) => queue.put(steer(flow(number))))
  expect(await results[3]).toEqual({ result: 'not-taken' })
  expect(queue.has(flow(4))).toBe(false)
  // In the place of one that waits there is room.
  const newer = queue.put(steer(flow(3), 2))
  expect(await results[2]).toEqual({ result: 'replaced' })
  await clock.run()
  expect(await newer).toMatchObject({ result: 'installed' })
  expect(await clock.until(queue.put(steer(flow(4))))).toMatchObject({ result: 'installed' })
  expect(queue.statistics()).toMatchObject({ refused: 1, replaced: 1, inserted: 4, longest: 2 })
})

test('no insertion that has waited for longer than its limit is executed', async () => {
  const { clock, device, queue } = await queueWorld({ limits: { insertion: 10 } })
  const results = Array.from({ length: 60 }, (_, number) => queue.put(steer(flow(number))))
  await clock.run()
  const { inserted, expired, insertionWait } = queue.statistics()
  expect(inserted).toBe(device.rules.size)
  expect(inserted).toBeGreaterThanOrEqual(20)
  expect(expired).toBe(60 - inserted)
  expect(insertionWait.max).toBeLessThanOrEqual(12_000)
  const expiries = (await Promise.all(results)).filter(({ result }) => result === 'expired')
  expect(expiries).toHaveLength(expired)
})

test('a caller withdraws its insertion with a signal, in whatever state', async () => {
  const { clock, device, queue } = await queueWorld()
  const aborts = [1, 2].map(() => new AbortController())
  const results = aborts.map(({ signal }, index) => queue.put(steer(flow(index)), { signal }))
  await clock.advance(0.1)
  for (const abort of aborts) abort.abort()
  await clock.run()
  expect(await Promise.all(results)).toEqual([{ result: 'withdrawn' }, { result: 'withdrawn' }])
  expect([device.rules.size, queue.size]).toEqual([0, 0])
  expect(await queue.put(steer(flow(3)), { signal: AbortSignal.abort() })).toEqual({ result: 'withdrawn' })
})

test('a refusal leaves nothing behind; after an answer that proves nothing what may be there is removed', async () => {
  const { clock, device, nic, queue, errors } = await queueWorld()
  const refusal = new RedirectorError('full', 'no space left on the card')
  nic.knobs.fault = () => ({ error: refusal })
  expect(await clock.until(queue.put(steer(flow(1))))).toEqual({ result: 'refused', error: refusal })
  expect(queue.has(flow(1))).toBe(false)
  const lost = new Error('the acknowledgement was lost')
  nic.knobs.fault = (command) => (command === 'insert' ? { error: lost, carriedOut: true } : undefined)
  expect(await clock.until(queue.put(steer(flow(2))))).toEqual({ result: 'failed', error: lost })
  expect([device.rules.size, queue.has(flow(2))]).toEqual([1, true])
  await clock.run()
  expect([device.rules.size, queue.has(flow(2))]).toEqual([0, false])
  expect(errors).toEqual([refusal, lost])
})

test('a removal that fails is tried again until it is carried out, and at once when somebody waits for it', async () => {
  const { clock, device, nic, queue } = await queueWorld({ limits: { removal: 20, retry: 1000, maximumRetry: 3000 } })
  await clock.until(queue.put(steer(flow(1))))
  const error = new RedirectorError('busy', 'Device or resource busy')
  nic.knobs.fault = () => ({ error })
  const failure = await clock.until(queue.remove(flow(1)).catch((reason: unknown) => reason))
  expect(failure).toMatchObject({ reason: 'busy', cause: error })
  expect(device.rules.size).toBe(1)
  expect(queue.statistics()).toMatchObject({ failedRemovals: 1, unproven: 1 })
  nic.knobs.fault = () => undefined
  const before = clock.now()
  await clock.until(queue.remove(flow(1)))
  expect(clock.now() - before).toBeLessThan(1000)
  expect(device.rules.size).toBe(0)
  await clock.run()
  expect(queue.statistics()).toMatchObject({ failedRemovals: 1, removed: 1 })
})

test('without anybody who waits a removal is tried again more and more rarely', async () => {
  const { clock, device, nic, queue } = await queueWorld({ limits: { retry: 10, maximumRetry: 40 } })
  await clock.until(queue.put(steer(flow(1))))
  const attempts: number[] = []
  nic.knobs.fault = () => {
    attempts.push(clock.now())
    return attempts.length < 6 ? { error: new Error('not now') } : undefined
  }
  queue.discard(flow(1))
  await clock.run()
  expect(device.rules.size).toBe(0)
  const pauses = attempts.slice(1).map((at, index) => Math.round((at - (attempts[index] as number)) / 1000))
  for (const [index, pause] of [10, 20, 40, 40, 40].entries()) expect(pauses[index]).toBeWithin(pause, pause + 4)
})

test('hardware that does not answer stalls nobody for longer than the limit, and is given nothing more', async () => {
  const { clock, device, nic, queue } = await queueWorld({ limits: { removal: 100, execution: 200, insertion: 50 } })
  await clock.until(queue.put(steer(flow(1))))
  nic.stall()
  const stuck = queue.put(steer(flow(2)))
  const waiting = queue.put(steer(flow(3)))
  const failure = await clock.until(queue.remove(flow(1)).catch((reason: unknown) => reason))
  expect(failure).toMatchObject({ reason: 'busy' })
  expect(await waiting).toEqual({ result: 'expired' })
  await clock.advance(200)
  expect(queue.statistics()).toMatchObject({ stalled: true, stalls: 1 })
  expect(await queue.put(steer(flow(4)))).toEqual({ result: 'not-taken' })
  nic.resume()
  await clock.run()
  // Nobody waits for what was stuck any more, so nothing is left of it.
  expect(await stuck).toEqual({ result: 'withdrawn' })
  expect([device.rules.size, queue.size, queue.stalled]).toEqual([0, 0, false])
  expect(nic.longestLine).toBe(1)
})

test('an aborted wait for a removal ends, and the removal goes on', async () => {
  const { clock, device, queue } = await queueWorld()
  await clock.until(queue.put(steer(flow(1))))
  const abort = new AbortController()
  const removal = queue.remove(flow(1), { signal: abort.signal })
  abort.abort(new Error('not needed'))
  expect(removal).rejects.toThrow('not needed')
  await clock.run()
  expect([device.rules.size, queue.size]).toEqual([0, 0])
})

test('what was found in the hardware is removed like what was put there', async () => {
  const { clock, nic, device, queue } = await queueWorld()
  await clock.until(nic.put(steer(flow(1))))
  queue.adopt(flow(1))
  queue.adopt(flow(2), 'unknown')
  await clock.until(Promise.all([queue.remove(flow(1)), queue.remove(flow(2))]))
  expect([device.rules.size, queue.size]).toEqual([0, 0])
})

test('closing drops what waits, lets the hardware answer, and leaves what is installed', async () => {
  const { clock, device, queue } = await queueWorld()
  await clock.until(queue.put(steer(flow(1))))
  const running = queue.put(steer(flow(2)))
  const waiting = queue.put(steer(flow(3)))
  const removal = queue.remove(flow(1)).catch((error: unknown) => error)
  const closing = queue.close()
  expect(await waiting).toEqual({ result: 'withdrawn' })
  expect(await removal).toMatchObject({ reason: 'gone' })
  expect(await clock.until(closing)).toBe(true)
  await running
  expect(device.rules.has(flow(1).id)).toBe(true)
  expect(await queue.put(steer(flow(4)))).toEqual({ result: 'not-taken' })
  await clock.run()
  await settled()
  expect(clock.queue.step()).toBe(false)
})
