import { describe, expect, test } from 'bun:test'
import { SharedBody } from '@xoffload/proxy-adapters/bun'
import { connect, get, serve, serveOne } from './server.ts'

const ramp = (size: number) => Uint8Array.from({ length: size }, (_, index) => index % 251)

describe('a shared body', () => {
  test.each([0, 1, 16_384, 16_385, 100_000, 5_000_001])('of %d bytes arrives whole, again and again', async (size) => {
    const bytes = ramp(size)
    const shared = new SharedBody(bytes, { type: 'image/x' })
    const client = await serveOne(() => shared.response({ headers: { 'x-a': 'b' } }))
    await client.send(get().repeat(3))
    for (let turn = 0; turn < 3; turn++) {
      const { body, headers } = await client.response()
      expect(body.equals(bytes)).toBe(true)
      expect([headers.get('content-type'), headers.get('x-a')]).toEqual(['image/x', 'b'])
    }
    await client.send('HEAD / HTTP/1.1\r\nHost: test\r\n\r\n')
    expect((await client.response(true)).headers.get('content-length')).toBe(`${size}`)
  })

  test('reaches slow clients whole, at the same time', async () => {
    const bytes = ramp(8_000_003)
    const shared = new SharedBody(bytes)
    const { port } = serve(() => shared.response())
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(port)))
    for (const client of clients) client.pause()
    await Promise.all(clients.map((client) => client.send(get())))
    await Bun.sleep(20)
    for (const client of clients) client.resume()
    for (const client of clients) expect((await client.response()).body.equals(bytes)).toBe(true)
  })

  test('does not change when its source does', async () => {
    const bytes = ramp(100_000)
    const shared = new SharedBody(bytes)
    bytes.fill(0)
    const client = await serveOne(() => shared.response())
    await client.send(get())
    expect((await client.response()).body.equals(ramp(100_000))).toBe(true)
  })
})
