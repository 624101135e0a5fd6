import { describe, expect, test } from 'bun:test'
import { unreadBytes } from '@xoffload/linux'
import { establishedSocket } from './established-socket.ts'
import { get } from './server.ts'
import { adoptOne, closeAfterTest, eventually, makeServer, suspended, text } from './suspend-support.ts'

const pathOf = (request: Request) => new URL(request.url).pathname
const echoPath = (request: Request) => new Response(pathOf(request))

describe('suspend', () => {
  test('stops an idle connection, and nothing reads from it until it is resumed', async () => {
    const { client, connection, fd } = await adoptOne({ fetch: echoPath })
    await client.send(get('/1'))
    await client.response()
    const stopped = await suspended(connection)
    expect(stopped).toMatchObject({ fd, requests: 1, head: undefined, response: undefined, closed: false })
    expect(text(stopped)).toBe('')
    await client.send(get('/2'))
    await eventually(() => unreadBytes(fd) === get('/2').length)
    await Bun.sleep(10)
    expect(unreadBytes(fd)).toBe(get('/2').length)
    expect([connection.requests, stopped.received.length]).toEqual([1, 0])
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('/2')
    expect(connection.requests).toBe(2)
  })

  test('before anything was received', async () => {
    const { client, connection } = await adoptOne({ fetch: echoPath })
    const stopped = await suspended(connection)
    expect(stopped.requests).toBe(0)
    stopped.resume()
    await client.send(get('/1'))
    expect((await client.response()).body.toString()).toBe('/1')
  })

  test('keeps a head that is only partly there', async () => {
    const { client, connection, fd } = await adoptOne({ fetch: echoPath })
    await client.send('GET /half HTTP/1.1\r\nHo')
    await eventually(() => unreadBytes(fd) === 0)
    const stopped = await suspended(connection)
    expect([text(stopped), stopped.head]).toEqual(['GET /half HTTP/1.1\r\nHo', undefined])
    await client.send('st: test\r\n\r\n')
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('/half')
  })

  test('waits for the handler under way and keeps the requests behind it', async () => {
    const gate = Promise.withResolvers<void>()
    const called = Promise.withResolvers<void>()
    const { client, connection, server } = await adoptOne({
      fetch: async (request) => {
        called.resolve()
        await gate.promise
        return echoPath(request)
      },
    })
    await client.send(get('/1') + get('/2') + get('/3'))
    await called.promise
    const promise = suspended(connection)
    gate.resolve()
    const stopped = await promise
    expect((await client.response()).body.toString()).toBe('/1')
    expect(text(stopped)).toBe(get('/2') + get('/3'))
    expect([stopped.head?.target, server.requests, stopped.requests]).toEqual(['/2', 1, 1])
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('/2')
    expect((await client.response()).body.toString()).toBe('/3')
  })

  test('asked for by a handler that answers at once stops before the next request', async () => {
    const wished = Promise.withResolvers<void>()
    let connection: Awaited<ReturnType<typeof adoptOne>>['connection'] | undefined
    let promise: ReturnType<typeof suspended> | undefined
    const adopted = await adoptOne({
      fetch: (request) => {
        if (connection !== undefined && promise === undefined) promise = suspended(connection)
        wished.resolve()
        return echoPath(request)
      },
    })
    connection = adopted.connection
    await adopted.client.send(get('/1') + get('/2'))
    await wished.promise
    const stopped = await (promise as NonNullable<typeof promise>)
    expect(text(stopped)).toBe(get('/2'))
    expect((await adopted.client.response()).body.toString()).toBe('/1')
  })

  test('waits until the kernel has taken the whole response', async () => {
    const { client, connection } = await adoptOne({ fetch: () => new Response(new Uint8Array(16_000_000)) })
    client.pause()
    await client.send(get())
    await eventually(() => connection.requests === 1)
    let stopped = false
    const promise = suspended(connection).then((result) => {
      stopped = true
      return result
    })
    await Bun.sleep(20)
    expect(stopped).toBe(false)
    client.resume()
    expect((await client.response()).body.length).toBe(16_000_000)
    expect((await promise).requests).toBe(1)
  })

  test('waits for the unsent bytes of the former owner', async () => {
    const unsent = new Uint8Array(16_000_000).fill(7)
    const { fd, client } = await establishedSocket()
    closeAfterTest(client).pause()
    const connection = makeServer({ fetch: echoPath }).adopt(fd, { unsent: unsent.slice() })
    const promise = suspended(connection)
    client.resume()
    expect((await client.take(unsent.length)).equals(unsent)).toBe(true)
    expect((await promise).requests).toBe(0)
  })

  test('waits for a request body, also one that the response does not wait for', async () => {
    const { client, connection } = await adoptOne({ fetch: echoPath })
    await client.send(`POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(1000)}`)
    await client.response()
    const promise = suspended(connection)
    await client.send('x'.repeat(99_000) + get('/next'))
    const stopped = await promise
    expect(unreadBytes(stopped.fd) + stopped.received.length).toBe(get('/next').length)
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('/next')
  })

  test('is not undone by a handler that gives up an old request body', async () => {
    let old: Request | undefined
    const { client, connection, fd } = await adoptOne({
      fetch: (request) => {
        old = request
        return new Response('not read')
      },
      limits: { bufferedBodySize: 0 },
    })
    await client.send('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello')
    await client.response()
    const stopped = await suspended(connection)
    await old?.body?.cancel()
    await client.send(get('/2'))
    await Bun.sleep(5)
    expect(unreadBytes(fd)).toBe(get('/2').length)
    stopped.resume()
    expect((await client.response()).status).toBe(200)
  })

  test('gives the same promise until it has stopped, and the same result after that', async () => {
    const { connection } = await adoptOne({ fetch: echoPath })
    const first = connection.suspend()
    expect(connection.suspend()).toBe(first)
    const stopped = await first
    expect(await connection.suspend()).toBe(stopped as NonNullable<typeof stopped>)
  })

  test('can be repeated after resume', async () => {
    const { client, connection } = await adoptOne({ fetch: echoPath })
    for (let turn = 1; turn <= 50; turn++) {
      const stopped = await suspended(connection)
      await client.send(get(`/${turn}`))
      stopped.resume()
      expect((await client.response()).body.toString()).toBe(`/${turn}`)
      expect(stopped.received.length).toBe(0)
    }
  })

  test('is given up by its signal', async () => {
    const gate = Promise.withResolvers<void>()
    const { client, connection } = await adoptOne({
      fetch: async (request) => {
        if (pathOf(request) === '/1') await gate.promise
        return echoPath(request)
      },
    })
    await client.send(get('/1'))
    await eventually(() => connection.requests === 1)
    const reason = new Error('no longer wanted')
    const controller = new AbortController()
    const promise = connection.suspend({ signal: controller.signal })
    controller.abort(reason)
    expect(await promise.catch((error) => error)).toBe(reason)
    expect(await connection.suspend({ signal: controller.signal }).catch((error) => error)).toBe(reason)
    gate.resolve()
    await client.send(get('/2'))
    expect((await client.response()).body.toString()).toBe('/1')
    expect((await client.response()).body.toString()).toBe('/2')
  })

  test('given up in the moment of the stop lets the connection go on', async () => {
    const { client, connection } = await adoptOne({ fetch: echoPath })
    const controller = new AbortController()
    const promise = connection.suspend({ signal: controller.signal })
    controller.abort()
    expect(await promise.catch((error) => error.name)).toBe('AbortError')
    await client.send(get('/1'))
    expect((await client.response()).body.toString()).toBe('/1')
  })

  test('gives undefined when the connection ends first', async () => {
    const last = await adoptOne({ fetch: () => Bun.sleep(5).then(() => new Response('last')) })
    await last.client.send(get('/', 'Connection: close\r\n') + get('/never'))
    await eventually(() => last.connection.requests === 1)
    const closing = last.connection.suspend()
    await last.client.response()
    await last.client.end()
    last.client.close()
    expect(await closing).toBeUndefined()
    expect(last.connection.closed).toBe(true)
    expect(await last.connection.suspend()).toBeUndefined()

    const reset = await adoptOne({ fetch: () => new Promise<Response>(() => {}) })
    await reset.client.send(get())
    await eventually(() => reset.connection.requests === 1)
    const gone = reset.connection.suspend()
    reset.client.close()
    expect(await gone).toBeUndefined()
  })

  test('does not stop a client that has ended its half: it gets its responses', async () => {
    const gate = Promise.withResolvers<void>()
    const { client, connection } = await adoptOne({
      fetch: async (request) => {
        await gate.promise
        return echoPath(request)
      },
    })
    await client.send(get('/1') + get('/2'))
    client.halfClose()
    await eventually(() => connection.requests === 1)
    // The FIN is read in the next turn of the event loop.
    await Bun.sleep(5)
    const promise = connection.suspend()
    gate.resolve()
    expect((await client.response()).body.toString()).toBe('/1')
    expect((await client.response()).body.toString()).toBe('/2')
    await client.end()
    client.close()
    expect(await promise).toBeUndefined()
  })
})

describe('a suspended connection', () => {
  test('is closed by a client that resets, and says so', async () => {
    const closed: string[] = []
    const { client, connection } = await adoptOne({ fetch: echoPath }, { onClose: () => closed.push('onClose') })
    const stopped = await suspended(connection)
    const { promise, resolve } = Promise.withResolvers<void>()
    stopped.onClosed = () => {
      closed.push('onClosed')
      resolve()
    }
    client.close()
    await promise
    await Bun.sleep(1)
    expect(closed).toEqual(['onClosed', 'onClose'])
    expect([stopped.closed, connection.closed]).toEqual([true, true])
    stopped.resume()
    stopped.close()
  })

  test("leaves the client's FIN in the kernel, and resume finds it", async () => {
    const { client, connection } = await adoptOne({ fetch: echoPath })
    const stopped = await suspended(connection)
    await client.send(get('/1'))
    client.halfClose()
    await Bun.sleep(20)
    expect(stopped.closed).toBe(false)
    stopped.resume()
    expect((await client.response()).body.toString()).toBe('/1')
    await client.end()
  })

  test('is closed with an RST unless it was frozen, and resume does nothing then', async () => {
    const { client, connection } = await adoptOne({ fetch: echoPath })
    const stopped = await suspended(connection)
    let told = false
    stopped.onClosed = () => {
      told = true
    }
    stopped.close()
    stopped.resume()
    await client.end()
    await eventually(() => connection.closed)
    expect([told, stopped.closed, stopped.received.length]).toEqual([false, true, 0])
  })

  test('keeps a stopping server until it is resumed or closed', async () => {
    for (const way of ['resume', 'close'] as const) {
      const { connection, server } = await adoptOne({ fetch: echoPath })
      const stopped = await suspended(connection)
      let done = false
      const stop = server.stop().then(() => {
        done = true
      })
      await Bun.sleep(5)
      expect(done).toBe(false)
      stopped[way]()
      await stop
      expect(connection.closed).toBe(true)
    }
  }, 15_000)

  test('is served what it has received when its server is stopping, and then closed', async () => {
    const { client, connection, server } = await adoptOne({ fetch: echoPath })
    await client.send(`${get('/1')}GET /2 HTTP/1.1\r\n`)
    await client.response()
    const stopped = await suspended(connection)
    expect(text(stopped)).toBe('GET /2 HTTP/1.1\r\n')
    const stop = server.stop()
    await client.send('Host: test\r\n\r\n')
    stopped.resume()
    const { body, headers } = await client.response()
    expect([body.toString(), headers.get('connection')]).toEqual(['/2', 'close'])
    client.close()
    await stop
  })

  test('is closed by a forced stop', async () => {
    const { client, connection, server } = await adoptOne({ fetch: echoPath })
    const stopped = await suspended(connection)
    const { promise, resolve } = Promise.withResolvers<void>()
    stopped.onClosed = resolve
    await server.stop(true)
    await promise
    await client.end()
  })

  test('has no timeout, and one that is resumed starts anew', async () => {
    const { client, connection, fd } = await adoptOne({ fetch: echoPath, idleTimeout: 0.1, headTimeout: 0.1 })
    await client.send('GET /late HTTP/1.1\r\n')
    await eventually(() => unreadBytes(fd) === 0)
    const stopped = await suspended(connection)
    await Bun.sleep(300)
    expect(stopped.closed).toBe(false)
    stopped.resume()
    await client.send('Host: test\r\n\r\n')
    expect((await client.response()).status).toBe(200)
  })
})
