import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HttpServerError, type InterruptedResponse, type ResumeHandler } from '@xoffload/proxy-adapters/bun'
import { closeFd, establishedSocket } from './established-socket.ts'
import { ramp, rampFrom, resumeRamp, SIZE } from './ramp.ts'
import { get } from './server.ts'
import { adoptOne, closeAfterTest, eventually, makeServer, suspended } from './suspend-support.ts'

describe('a continued response', () => {
  const response: InterruptedResponse = {
    state: new TextEncoder().encode('ramp'),
    offset: SIZE - 1000,
    framing: { kind: 'length', contentLength: SIZE },
    keepAlive: true,
  }

  test('follows the unsent bytes of the former owner', async () => {
    const { client } = await adoptOne(
      { fetch: () => new Response('next'), resume: resumeRamp },
      { response, unsent: Buffer.from('unsent') },
    )
    await client.send(get())
    expect((await client.take(6)).toString()).toBe('unsent')
    expect((await client.take(1000)).equals(ramp.subarray(SIZE - 1000))).toBe(true)
    expect((await client.response()).body.toString()).toBe('next')
  })

  test('may be bytes, a file, or come late', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'continued-'))
    try {
      const path = join(folder, 'ramp')
      await Bun.write(path, ramp)
      const handlers: ResumeHandler[] = [
        (_, offset) => ramp.subarray(offset),
        (_, offset) => Bun.file(path).slice(offset),
        async (_, offset) => {
          await Bun.sleep(5)
          return rampFrom(offset)
        },
      ]
      for (const resume of handlers) {
        const { client } = await adoptOne({ fetch: () => new Response('next'), resume }, { response })
        await client.send(get())
        expect((await client.take(1000)).equals(ramp.subarray(SIZE - 1000))).toBe(true)
        expect((await client.response()).body.toString()).toBe('next')
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('closes the connection when the first server said so', async () => {
    const { client } = await adoptOne(
      { fetch: () => new Response('never'), resume: resumeRamp },
      { response: { ...response, keepAlive: false } },
    )
    await client.send(get())
    await client.end()
    expect(client.received.length).toBe(1000)
  })

  test('can be interrupted again', async () => {
    const { client, connection } = await adoptOne(
      { fetch: () => new Response('next'), resume: resumeRamp },
      { response: { ...response, offset: 5 } },
    )
    await client.until(() => client.received.length > 0)
    const stopped = await suspended(connection, { interrupt: true })
    expect(stopped.response).toMatchObject({ framing: response.framing, keepAlive: true, state: response.state })
    expect(stopped.response?.offset).toBeGreaterThan(5)
    stopped.resume()
    expect((await client.take(SIZE - 5)).equals(ramp.subarray(5))).toBe(true)
  })

  const failures: [string, ResumeHandler][] = [
    ['refuses', () => undefined],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['gives too little', () => ramp.subarray(0, 999)],
    ['gives too much', () => ramp.subarray(0, 1001)],
  ]
  test.each(failures)('resets the connection when its handler %s', async (_, resume) => {
    const errors: unknown[] = []
    const { client, connection } = await adoptOne(
      { fetch: () => new Response('never'), resume, onError: (error) => void errors.push(error) },
      { response },
    )
    await client.end()
    expect(client.resetByPeer).toBe(true)
    await eventually(() => connection.closed)
    expect(errors).toHaveLength(1)
    expect(client.received.length).toBeLessThan(1000)
  })

  test('ends quietly with a client that goes', async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const errors: unknown[] = []
    const { client, server } = await adoptOne(
      {
        fetch: () => new Response('never'),
        resume: () => new ReadableStream({ cancel: (reason) => cancelled.resolve(reason) }),
        onError: (error) => void errors.push(error),
      },
      { response },
    )
    await Bun.sleep(2)
    client.close()
    expect(await cancelled.promise).toMatchObject({ code: 'CLIENT_GONE' })
    await eventually(() => server.connections === 0)
    expect(errors).toEqual([])
  })

  test('is refused by a server that cannot resume', async () => {
    const { fd, client } = await establishedSocket()
    closeAfterTest(client)
    expect(() => makeServer({ fetch: () => new Response('never') }).adopt(fd, { response })).toThrow(HttpServerError)
    closeFd(fd)
  })
})
