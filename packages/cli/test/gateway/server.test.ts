/** Where a server's packets go, as its greeting and the gateway's configuration say. */
import { expect, test } from 'bun:test'
import { type HelloMessage, MacAddress, PROTOCOL_VERSION } from '@xoffload/core'
import type { ControlChannel } from '../../src/control/index.ts'
import { Server } from '../../src/gateway/server.ts'

const mac = MacAddress.parse('02:00:00:00:00:11')
const channel = { host: 's1', connected: true } as ControlChannel
const vxlan = { mode: 'vxlan', remote: '192.0.2.9', identifier: 1, port: 4789, mac } as const
const ipip = { mode: 'ipip', remote: '192.0.2.9' } as const

function hello(tunnel: HelloMessage['tunnel']): HelloMessage {
  const greeting = { type: 'hello', protocolVersion: PROTOCOL_VERSION, host: 's1', mac, instance: 1n } as const
  return { ...greeting, maximumHandoffs: 8, ...(tunnel && { tunnel }) }
}

test.each([
  [undefined, undefined, { mode: 'l2', mac }],
  ['vxlan', vxlan, vxlan],
  ['ipip', ipip, ipip],
] as const)('configured with the tunnel %p', (configured, said, expected) => {
  const server = new Server('s1', undefined, configured)
  server.connected(channel, hello(said))
  expect(server.destination?.steer).toEqual(expected)
  expect([server.up, server.objection]).toEqual([true, undefined])
})

test.each([
  [undefined, vxlan, 'its tunnel is "vxlan", and that of servers[].tunnel is none'],
  ['vxlan', undefined, 'its tunnel is none, and that of servers[].tunnel is "vxlan"'],
  ['vxlan', ipip, 'its tunnel is "ipip", and that of servers[].tunnel is "vxlan"'],
] as const)(
  'configured with the tunnel %p, and it says another one: nothing is handed to it',
  (configured, said, text) => {
    const server = new Server('s1', undefined, configured)
    server.connected(channel, hello(said))
    expect([server.up, server.destination]).toEqual([false, undefined])
    expect(server.objection).toContain(text)
    // It was started again with the right configuration.
    server.connected(channel, hello(configured === undefined ? undefined : vxlan))
    expect([server.up, server.objection]).toEqual([true, undefined])
  },
)
