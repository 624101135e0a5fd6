// Answers that are lost, as when the receive buffer overflows: what the redirector says is what the kernel has.
import { describe, expect, test } from 'bun:test'
import type { RedirectorError } from '@xoffload/core'
import type { FlowerRedirector } from '../src/index.ts'
import { FakeKernel } from './fake-kernel.ts'
import { openFake } from './fake-nic.ts'
import { flow, steer } from './support.ts'

const RTM_NEWTFILTER = 44
const RTM_DELTFILTER = 45
const RTM_GETTFILTER = 46

async function ports(redirector: FlowerRedirector): Promise<number[]> {
  const found: number[] = []
  for await (const { rule } of redirector.list()) found.push(rule.flow.client.port)
  return found.sort((a, b) => a - b)
}

const all = Array.from({ length: 200 }, (_, index) => 1000 + index)

describe('when every third answer is lost', () => {
  test('puts that were carried out succeed, and are there once', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel)
    const { redirector } = opened
    let count = 0
    kernel.lose = ({ type }) => type === RTM_NEWTFILTER && ++count % 3 === 0
    const outcomes = await Promise.all(all.map((port) => redirector.put(steer(port))))
    expect(outcomes).toEqual(all.map(() => 'accepted'))
    expect(await ports(redirector)).toEqual(all)
    expect(redirector.statistics().lostAnswers).toBeGreaterThan(0)
  })

  test('removals that were carried out succeed, and nothing is left', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel)
    const { redirector } = opened
    await Promise.all(all.map((port) => redirector.put(steer(port))))
    let count = 0
    kernel.lose = ({ type }) => type === RTM_DELTFILTER && ++count % 3 === 0
    expect(await Promise.all(all.map((port) => redirector.remove(flow(port))))).toEqual(all.map(() => true))
    expect(await ports(redirector)).toEqual([])
    expect(kernel.rules).toEqual([])
  })

  test('counters are read all the same', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel)
    const { redirector } = opened
    await redirector.put(steer(1))
    for (const filter of kernel.rules) filter.traffic = { packets: 7n, bytes: 700n, idleTicks: 0n }
    kernel.lose = ({ type }) => type === RTM_GETTFILTER
    expect((await redirector.counters(flow(1)))?.packets).toBe(7n)
  })
})

test('a put that was refused, and whose answer was lost, is busy: there is no rule', async () => {
  const kernel = new FakeKernel()
  await using opened = await openFake(kernel)
  const { redirector } = opened
  kernel.refuse = ({ type }) => (type === RTM_NEWTFILTER ? { errno: 'ENOSPC', text: 'table is full' } : undefined)
  kernel.lose = ({ type }) => type === RTM_NEWTFILTER
  const refused = await redirector.put(steer(1)).then(
    () => undefined,
    (error: RedirectorError) => error.reason,
  )
  expect(refused).toBe('busy')
  expect(await ports(redirector)).toEqual([])
  expect(await redirector.remove(flow(1))).toBe(false)
})

test('a replacement that was refused, and whose answer was lost, is busy: the old rule is there', async () => {
  const kernel = new FakeKernel()
  await using opened = await openFake(kernel)
  const { redirector } = opened
  await redirector.put(steer(1, { handoff: { handoff: 5, epoch: 1 } }))
  kernel.refuse = ({ type }) => (type === RTM_NEWTFILTER ? { errno: 'EIO' } : undefined)
  kernel.lose = ({ type }) => type === RTM_NEWTFILTER
  // The same rule again: only its generation tells the two apart.
  const again = redirector.put(steer(1, { handoff: { handoff: 5, epoch: 1 } }))
  await expect(again).rejects.toMatchObject({ reason: 'busy' })
  expect(await ports(redirector)).toEqual([1])
})
