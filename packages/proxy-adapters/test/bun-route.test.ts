import { describe, expect, test } from 'bun:test'
import { unreadBytes } from '@xoffload/linux'
import { HttpServerError } from '@xoffload/proxy-adapters/bun'
import { closeFd, establishedSocket, setReceiveBuffer } from './established-socket.ts'
import { get } from './server.ts'
import { adoptOne, closeAfterTest, eventually, makeServer, routing, text } from './suspend-support.ts'

const echoPath = (request: Request) => new Response(new URL(request.url).pathname)

describe('route', () => {
  test('stops before a request, with everything that is behind it', async () => {
    const { options, asked, next } = routing((target) => target === '/2')
    const { client, server } = await adoptOne({ fetch: echoPath }, options)
    await client.send(get('/1') + get('/2') + get('/3'))
    const stopped = await next()
    expect((await client.response()).body.toString()).toBe('/1')
    expect(text(stopped)).toBe(get('/2') + get('/3'))
    expect([stopped.head?.target, stopped.requests, server.requests]).toEqual(['/2', 1, 1])
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('/2')
    expect((await client.response()).body.toString()).toBe('/3')
    expect(asked).toEqual(['/1', '/2', '/3'])
  })

  test('leaves the rest of an upload in the kernel', async () => {
    const upload = Buffer.from(Uint8Array.from({ length: 2_000_000 }, (_, index) => index % 251))
    const head = `POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: ${upload.length}\r\n\r\n`
    const { options, next } = routing(() => true)
    const { client, fd } = await adoptOne(
      { fetch: async (request) => new Response(new Uint8Array(await request.arrayBuffer())) },
      options,
    )
    const sent = client.send(Buffer.concat([Buffer.from(head), upload]))
    const stopped = await next()
    await eventually(() => unreadBytes(fd) > 0)
    const { length } = stopped.received
    expect(Buffer.from(stopped.received).equals(Buffer.concat([Buffer.from(head), upload]).subarray(0, length))).toBe(
      true,
    )
    await Bun.sleep(10)
    expect(stopped.received.length).toBe(length)
    expect(length).toBeLessThan(upload.length)
    stopped.resume()
    await sent
    expect((await client.response()).body.equals(upload)).toBe(true)
  })

  test('gives all that was read when the read filled the buffer of the event loop', async () => {
    const { fd, client } = await establishedSocket()
    closeAfterTest(client)
    setReceiveBuffer(fd, 4_000_000)
    const bytes = Buffer.concat([Buffer.from(get('/1')), Buffer.alloc(1_500_000, 'x')])
    await client.send(bytes)
    await eventually(() => unreadBytes(fd) === bytes.length)
    const { options, next } = routing(() => true)
    makeServer({ fetch: echoPath }).adopt(fd, options)
    const stopped = await next()
    const { length } = stopped.received
    expect(length).toBeGreaterThanOrEqual(512 * 1024)
    expect(length + unreadBytes(fd)).toBe(bytes.length)
    await Bun.sleep(5)
    expect(stopped.received.length).toBe(length)
    stopped.close()
  })

  test('is not asked about a request that it stopped once, and again about the next', async () => {
    const { options, asked, next } = routing(() => true)
    const { client } = await adoptOne({ fetch: echoPath }, options)
    for (const path of ['/1', '/2', '/3']) {
      await client.send(get(path))
      const stopped = await next()
      expect(stopped.head?.target).toBe(path)
      stopped.resume()
      expect((await client.response()).body.toString()).toBe(path)
    }
    expect(asked).toEqual(['/1', '/2', '/3'])
  })

  test('is asked once the head is complete, and not about a malformed one', async () => {
    const { options, asked } = routing(() => false)
    const { client } = await adoptOne({ fetch: echoPath }, options)
    await client.send('GET /slow HTTP/1.1\r\n')
    await Bun.sleep(5)
    expect(asked).toEqual([])
    await client.send('Host: test\r\n\r\nnonsense\r\n\r\n')
    expect((await client.response()).body.toString()).toBe('/slow')
    expect((await client.response()).status).toBe(400)
    expect(asked).toEqual(['/slow'])
  })

  test('that fails is reported, and the request is served', async () => {
    const errors: unknown[] = []
    const failure = new Error('routing failed')
    const onError = (error: unknown) => void errors.push(error)
    const failing = await adoptOne(
      { fetch: echoPath, onError },
      {
        route: () => {
          throw failure
        },
        onSuspended: () => {},
      },
    )
    await failing.client.send(get('/1'))
    expect((await failing.client.response()).body.toString()).toBe('/1')
    const refusing = await adoptOne(
      { fetch: echoPath, onError },
      {
        route: () => 'suspend',
        onSuspended: () => {
          throw failure
        },
      },
    )
    await refusing.client.send(get('/2'))
    expect((await refusing.client.response()).body.toString()).toBe('/2')
    expect(errors).toEqual([failure, failure])
  })

  test('needs somebody who takes the connection', async () => {
    const { fd, client } = await establishedSocket()
    closeAfterTest(client)
    expect(() => makeServer({ fetch: echoPath }).adopt(fd, { route: () => 'suspend' })).toThrow(HttpServerError)
    closeFd(fd)
  })

  test('is not asked once the client has ended its half', async () => {
    const gate = Promise.withResolvers<void>()
    const { options, asked } = routing((target) => target === '/2')
    const { client, connection } = await adoptOne(
      {
        fetch: async (request) => {
          await gate.promise
          return echoPath(request)
        },
      },
      options,
    )
    await client.send(get('/1') + get('/2'))
    client.halfClose()
    await eventually(() => connection.requests === 1)
    // The FIN is read in the next turn of the event loop.
    await Bun.sleep(5)
    gate.resolve()
    expect((await client.response()).body.toString()).toBe('/1')
    expect((await client.response()).body.toString()).toBe('/2')
    await client.end()
    expect(asked).toEqual(['/1'])
  })
})
