import { afterEach, beforeEach, expect, test } from 'bun:test'
import { type Arrival, FlowKey } from '@xoffload/core'
import { FlowWatch } from '../../src/server/flow-watch.ts'

const flowOf = (port: number) => FlowKey.of({ address: '192.0.2.1', port }, { address: '198.51.100.1', port: 80 })
const arrival = (port: number, host: string): Arrival => ({ flow: flowOf(port), host, handoff: port, epoch: 1 })

let watch: FlowWatch
beforeEach(() => {
  watch = new FlowWatch(() => {})
})
afterEach(() => watch.close())

// Cookies of the kernel count from 1: these are none of it.
const [FIRST, SECOND] = [2n ** 62n, 2n ** 62n + 1n]

test('a connection belongs to the gateway that brought it, until its socket has another owner', () => {
  expect(watch.gatewayOf(flowOf(1))).toBeUndefined()
  watch.add(FIRST, arrival(1, 'g1'))
  expect([watch.gatewayOf(flowOf(1)), watch.gatewayOf(flowOf(2))]).toEqual(['g1', undefined])
  watch.forget(FIRST)
  expect(watch.gatewayOf(flowOf(1))).toBeUndefined()
})

test('one that uses the port again belongs to the gateway that brought it last', () => {
  watch.add(FIRST, arrival(1, 'g1'))
  watch.add(SECOND, arrival(1, 'g2'))
  watch.forget(FIRST)
  expect([watch.gatewayOf(flowOf(1)), [...watch.arrivals].length]).toEqual(['g2', 1])
})
