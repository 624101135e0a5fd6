// Requests and their answers, with a kernel that answers out of order, too late, or not at all.
import { describe, expect, test } from 'bun:test'
import { RedirectorError } from '@xoffload/core'
import { LinuxError, type TcRequest } from '@xoffload/linux'
import type { Exchange } from '../src/index.ts'
import { type Answer, type PipelineOptions, RequestPipeline } from '../src/pipeline.ts'
import { acknowledgement } from './fake-messages.ts'
import { sequencesOf } from './support.ts'

const done: Answer = { errno: undefined, text: undefined, replies: [] }

/** A request that says which one it is. */
function numbered(number: number): TcRequest {
  return { type: 44, flags: 0, body: new Uint8Array(20).fill(number) }
}

/** An exchange that a test answers when it wants to. */
interface Asked {
  readonly sequences: readonly number[]
  answer(exchange: Partial<Exchange>): void
  fail(error: Error): void
}

function make(options: Partial<PipelineOptions> = {}) {
  const asked: Asked[] = []
  const pipeline = new RequestPipeline({
    connection: {
      exchange(messages) {
        const { promise, resolve, reject } = Promise.withResolvers<Exchange>()
        const answer = (exchange: Partial<Exchange>) => resolve({ datagrams: [], overflow: false, ...exchange })
        asked.push({ sequences: sequencesOf(messages), answer, fail: reject })
        return promise
      },
    },
    requestsPerExchange: 4,
    exchanges: 2,
    maximumWaiting: 10,
    reconcile: async (lost) => lost.map(() => undefined),
    ...options,
  })
  return { pipeline, asked }
}

/** All that was scheduled has run. */
const settled = () => new Promise((resolve) => setImmediate(resolve))
const acknowledged = (...sequences: readonly number[]) => ({
  datagrams: sequences.map((sequence) => acknowledgement(sequence, 0)),
})
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

describe('requests', () => {
  test('that are made together go together, so many at a time, and two exchanges are under way', async () => {
    const { pipeline, asked } = make()
    const answers = numbers(10).map((number) => pipeline.request(numbered(number)))
    await settled()
    expect(asked.map(({ sequences }) => sequences)).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ])
    expect(pipeline.pending).toBe(10)
    for (const { sequences, answer } of asked) answer(acknowledged(...sequences))
    await settled()
    expect(asked[2]?.sequences).toEqual([9, 10])
    asked[2]?.answer(acknowledged(9, 10))
    expect(await Promise.all(answers)).toEqual(numbers(10).map(() => done))
    expect(pipeline.pending).toBe(0)
  })

  test('are answered by their sequence numbers, in whatever order and exchange the answers come', async () => {
    const { pipeline, asked } = make()
    const answers = numbers(8).map((number) => pipeline.request(numbered(number)))
    await settled()
    const refused = acknowledgement(3, 28, 'table is full')
    asked[0]?.answer({ datagrams: [...acknowledged(7, 2).datagrams, refused, ...acknowledged(4, 1).datagrams] })
    asked[1]?.answer(acknowledged(8, 99, 5, 6, 6))
    const found = await Promise.all(answers)
    expect(found.map(({ errno }) => errno)).toEqual([undefined, undefined, 'ENOSPC', ...Array(5).fill(undefined)])
    expect(found[2]?.text).toBe('table is full')
    expect(pipeline.losses).toBe(0)
  })

  test('get the messages that come before the acknowledgement', async () => {
    const { pipeline, asked } = make()
    const answer = pipeline.request(numbered(1))
    await settled()
    const message = acknowledgement(1, 0)
    new DataView(message.buffer).setUint16(4, 44, true)
    asked[0]?.answer({ datagrams: [message, ...acknowledged(1).datagrams] })
    expect((await answer).replies).toHaveLength(1)
  })

  test('beyond the limit are refused as busy, and the others are not disturbed', async () => {
    const { pipeline, asked } = make()
    const answers = numbers(18).map((number) => pipeline.request(numbered(number)))
    const outcomes = Promise.allSettled(answers)
    await settled()
    for (let index = 0; index < 3; index++) {
      asked[index]?.answer(acknowledged(...(asked[index]?.sequences ?? [])))
      await settled()
    }
    const found = await outcomes
    expect(found.map(({ status }) => status)).toEqual([...Array(10).fill('fulfilled'), ...Array(8).fill('rejected')])
    const refused = found.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason.reason)
    expect(new Set(refused)).toEqual(new Set(['busy']))
  })

  test('that the kernel did not get are rejected, and the next go their way', async () => {
    const { pipeline, asked } = make()
    const failing = Promise.allSettled([1, 2].map((number) => pipeline.request(numbered(number))))
    await settled()
    const error = new LinuxError('send', 'ENOBUFS')
    asked[0]?.fail(error)
    expect(await failing).toEqual([1, 2].map(() => ({ status: 'rejected', reason: error })))
    const next = pipeline.request(numbered(3))
    await settled()
    asked[1]?.answer(acknowledged(...(asked[1]?.sequences ?? [])))
    expect(await next).toEqual(done)
  })
})

describe('an abort', () => {
  test('withdraws a request that was not sent, and no other', async () => {
    const { pipeline, asked } = make({ exchanges: 1 })
    const controller = new AbortController()
    const sent = pipeline.request(numbered(1), controller.signal)
    await settled()
    const waiting = pipeline.request(numbered(2), controller.signal)
    const other = pipeline.request(numbered(3))
    const reason = new Error('no longer wanted')
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    asked[0]?.answer(acknowledged(1))
    expect(await sent).toEqual(done)
    await settled()
    expect(asked[1]?.sequences).toHaveLength(1)
    asked[1]?.answer(acknowledged(...(asked[1]?.sequences ?? [])))
    expect(await other).toEqual(done)
  })
})

describe('answers that were lost', () => {
  test('are looked up once, when nothing is under way any more and nothing new is sent', async () => {
    const lookups: number[][] = []
    const lookup = Promise.withResolvers<void>()
    const { pipeline, asked } = make({
      reconcile: async (lost) => {
        lookups.push(lost.map(({ body }) => body[0] as number))
        await lookup.promise
        return lost.map(() => ({ ...done, text: 'looked up' }))
      },
    })
    const answers = numbers(10).map((number) => pipeline.request(numbered(number)))
    await settled()
    asked[0]?.answer({ ...acknowledged(1, 3), overflow: true })
    await settled()
    expect([asked.length, lookups.length]).toEqual([2, 0])
    // The answer of a request of the first exchange comes with the second.
    asked[1]?.answer(acknowledged(2, 5, 6, 8))
    await settled()
    expect([asked.length, lookups]).toEqual([2, [[4, 7]]])
    lookup.resolve()
    await settled()
    asked[2]?.answer(acknowledged(9, 10))
    const texts = (await Promise.all(answers)).map(({ text }) => text)
    expect(texts.map((text) => text !== undefined)).toEqual(numbers(10).map((number) => [4, 7].includes(number)))
    expect(pipeline.losses).toBe(1)
  })

  test('that come late after all are no loss', async () => {
    const { pipeline, asked } = make()
    const answers = numbers(8).map((number) => pipeline.request(numbered(number)))
    await settled()
    asked[0]?.answer(acknowledged(1))
    asked[1]?.answer(acknowledged(2, 3, 4, 5, 6, 7, 8))
    expect(await Promise.all(answers)).toHaveLength(8)
    expect(pipeline.losses).toBe(0)
  })

  test.each([
    ['nothing can be said', async () => [undefined]],
    ['the lookup fails', async () => Promise.reject(new RedirectorError('gone', 'no device'))],
  ] as const)('make the request busy when %s', async (_, reconcile) => {
    const { pipeline, asked } = make({ reconcile })
    const lost = pipeline.request(numbered(1))
    await settled()
    asked[0]?.answer({ overflow: true })
    await expect(lost).rejects.toMatchObject({ reason: 'busy' })
    const next = pipeline.request(numbered(2))
    await settled()
    asked[1]?.answer(acknowledged(2))
    expect(await next).toEqual(done)
  })
})

test('withdraw rejects what was not sent, and waits for the rest', async () => {
  const { pipeline, asked } = make({ exchanges: 1 })
  const sent = pipeline.request(numbered(1))
  await settled()
  const waiting = pipeline.request(numbered(2))
  const gone = new RedirectorError('gone', 'closed')
  let ended = false
  const end = pipeline.withdraw(gone).then(() => {
    ended = true
  })
  await expect(waiting).rejects.toBe(gone)
  await settled()
  expect(ended).toBe(false)
  asked[0]?.answer(acknowledged(1))
  expect(await sent).toEqual(done)
  await end
  await pipeline.withdraw(gone)
})
