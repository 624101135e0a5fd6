import { describe, expect, test } from 'bun:test'
import { SharedBody, SharedResponse } from '@xoffload/proxy-adapters/bun'
import { connect, get, serve, serveOne } from './server.ts'

const ramp = (size: number) => Uint8Array.from({ length: size }, (_, index) => index % 251)

describe('a shared response', () => {
  test.each([0, 1, 4096, 16_385, 100_000])('with %d bytes is sent again and again, whole', async (size) => {
    const bytes = ramp(size)
    const shared = new SharedResponse(new SharedBody(bytes, { type: 'image/x' }), { headers: { 'x-a': 'b' } })
    const { port } = serve(() => shared)
    for (const client of await Promise.all([connect(port), connect(port)])) {
      await client.send(get().repeat(3))
      for (let turn = 0; turn < 3; turn++) {
        const { status, body, headers } = await client.response()
        expect(status).toBe(200)
        expect(body.equals(bytes)).toBe(true)
        expect([...headers.keys()].sort()).toEqual(['content-length', 'content-type', 'date', 'x-a'])
        expect([headers.get('content-type'), headers.get('x-a')]).toEqual(['image/x', 'b'])
      }
    }
  })

  test('says what its request needs', async () => {
    const shared = new SharedResponse(new SharedBody(ramp(100)), { status: 206, statusText: 'Part' })
    const client = await serveOne(() => shared)
    await client.send('HEAD / HTTP/1.1\r\nHost: test\r\n\r\n')
    expect(await client.response(true)).toMatchObject({ status: 206 })
    await client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    expect((await client.response()).headers.get('connection')).toBe('keep-alive')
    await client.send(get('/', 'Connection: close\r\n'))
    expect((await client.response()).headers.get('connection')).toBe('close')
  })

  test('has immutable headers, and a clone has not', async () => {
    const shared = new SharedResponse(new SharedBody(ramp(100)), { status: 203, headers: { 'x-a': 'b' } })
    Bun.gc(true)
    expect(() => shared.headers.set('x-a', 'c')).toThrow(TypeError)
    expect(() => shared.headers.append('x-b', 'c')).toThrow(TypeError)
    expect(() => shared.headers.delete('x-a')).toThrow(TypeError)
    const clone = shared.clone()
    clone.headers.set('x-a', 'c')
    const client = await serveOne(() => clone)
    await client.send(get())
    const { status, headers, body } = await client.response()
    expect([status, headers.get('x-a'), body.equals(ramp(100))]).toEqual([203, 'c', true])
    expect(shared.headers.get('x-a')).toBe('b')
  })

  test('whose body was read is still sent', async () => {
    const shared = new SharedResponse(new SharedBody(ramp(100)))
    await shared.bytes()
    const client = await serveOne(() => shared)
    await client.send(get())
    expect((await client.response()).body.equals(ramp(100))).toBe(true)
  })
})
