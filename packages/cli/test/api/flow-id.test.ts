import { expect, test } from 'bun:test'
import { FlowKey } from '@xoffload/core'
import { flowId, parseFlowId } from '../../src/api/flow-id.ts'

test.each([
  [{ address: '192.0.2.7', port: 40_312 }, { address: '198.51.100.1', port: 80 }, '192.0.2.7:40312-198.51.100.1:80'],
  [
    { address: '2001:db8::7', port: 1 },
    { address: '2001:db8::1', port: 65_535 },
    '[2001:db8::7]:1-[2001:db8::1]:65535',
  ],
])('%j to %j is %s, there and back', (client, service, text) => {
  const flow = FlowKey.of(client, service)
  expect(flowId(flow)).toBe(text)
  expect(parseFlowId(text)?.equals(flow)).toBe(true)
  expect(parseFlowId(flow.toString())?.equals(flow)).toBe(true)
})

test.each([
  '',
  '-',
  '192.0.2.7:40312',
  '192.0.2.7:40312-198.51.100.1',
  '192.0.2.7:40312-198.51.100.1:80-',
  '192.0.2.7:40312-198.51.100.1:80-192.0.2.7:1',
  ' 192.0.2.7:40312-198.51.100.1:80',
  '192.0.2.7:40312 - 198.51.100.1:80',
  '192.0.2.7:0-198.51.100.1:80',
  '192.0.2.7:65536-198.51.100.1:80',
  '192.0.2.256:1-198.51.100.1:80',
  '192.2.7:1-198.51.100.1:80',
  '192.0.2.7:1-[2001:db8::1]:80',
  '2001:db8::7:1-2001:db8::1:80',
  '[fe80::1%eth0]:1-[fe80::2%eth0]:80',
  'client:1-service:80',
])('%j is no flow', (text) => {
  expect(parseFlowId(text)).toBeUndefined()
})
