import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check, libc } from '../src/ffi/libc.ts'
import { NativeMemory } from '../src/ffi/memory.ts'
import {
  closeFd,
  connectUnix,
  MAXIMUM_DESCRIPTORS,
  MAXIMUM_MESSAGE_LENGTH,
  UnixConnection,
  UnixListener,
} from '../src/index.ts'
import { unixSocket } from '../src/unix/connection.ts'
import { thrownBy } from './tcp-support.ts'

let directory: string
let path: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xoffload-unix-'))
  path = join(directory, 'socket')
})
afterEach(() => rmSync(directory, { recursive: true }))

/** It may become less: what was the runtime's for an earlier test's process is closed some time after it. */
const openFiles = () => readdirSync('/proc/self/fd').length
const bytes = (text: string) => new TextEncoder().encode(text)
const identity = (fd: number) => readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')
const inode = (fd: number) => statSync(`/proc/self/fd/${fd}`).ino

function startPeer(task: string, wrapper: string[] = []) {
  const program = join(import.meta.dir, 'unix-peer.ts')
  return Bun.spawn([...wrapper, process.execPath, program, path, task], { stdout: 'pipe', stderr: 'inherit' })
}

/** Both ends of a connection within this process. */
async function pair(): Promise<{ near: UnixConnection; far: UnixConnection; [Symbol.dispose](): void }> {
  using listener = UnixListener.open(path)
  const near = connectUnix(path)
  const far = (await listener.accept()) as UnixConnection
  const dispose = () => {
    near.close()
    far.close()
  }
  return { near, far, [Symbol.dispose]: dispose }
}

describe('another process', () => {
  test('gives a listening socket, which goes on accepting when that process is gone', async () => {
    using listener = UnixListener.open(path)
    const child = startPeer('give a listener')
    using connection = (await listener.accept()) as UnixConnection
    expect(connection.peer).toEqual({ pid: child.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 })
    const message = await connection.receive()
    const [fd = -1] = message?.fds ?? []
    await connection.send(bytes('thanks'))
    expect(await child.exited).toBe(0)

    const client = await Bun.connect({
      hostname: '127.0.0.1',
      port: Number(new TextDecoder().decode(message?.bytes)),
      socket: { data() {} },
    })
    const accepted = check('accept4', libc.accept4(fd, null, null, 0))
    expect(accepted).toBeGreaterThan(0)
    client.terminate()
    closeFd(accepted)
    closeFd(fd)
  })

  test('that may open too few files is told so, and keeps none of those that did arrive', async () => {
    using listener = UnixListener.open(path)
    const child = startPeer('receive', ['prlimit', '--nofile=64:64'])
    using connection = (await listener.accept()) as UnixConnection
    await connection.receive()
    const fd = openSync(`${path}.file`, 'w')
    await connection.send(bytes('many'), Array(60).fill(fd))
    closeFd(fd)
    expect(await new Response(child.stdout).text()).toBe('EMSGSIZE, 0 open\n')
  })

  test('that died has left its socket file, which is replaced', async () => {
    const child = startPeer('listen')
    await child.stdout.getReader().read()
    expect(thrownBy(() => UnixListener.open(path))).toMatchObject({
      errno: 'EADDRINUSE',
      message: expect.stringContaining('another process listens there'),
    })
    child.kill('SIGKILL')
    await child.exited
    expect(thrownBy(() => connectUnix(path))).toMatchObject({ errno: 'ECONNREFUSED' })
    using listener = UnixListener.open(path)
    using connection = connectUnix(path)
    using accepted = await listener.accept()
    expect([connection.peer.pid, accepted?.peer.pid]).toEqual([process.pid, process.pid])
  })
})

describe('a message', () => {
  test('brings descriptors of the same open file, close-on-exec', async () => {
    using connection = await pair()
    const file = join(directory, 'file')
    writeFileSync(file, 'content')
    const fd = openSync(file, 'r')
    await connection.near.send(bytes('take this'), [fd, 0])
    closeFd(fd)
    const message = await connection.far.receive()
    expect(message?.bytes).toEqual(bytes('take this'))
    const [received = -1, second = -1] = message?.fds ?? []
    expect(readFileSync(received, 'utf8')).toBe('content')
    expect(inode(second)).toBe(inode(0))
    for (const descriptor of [received, second]) {
      const flags = Number.parseInt(/flags:\s+(\d+)/.exec(identity(descriptor))?.[1] ?? '0', 8)
      expect(flags & 0o2000000).toBe(0o2000000)
      closeFd(descriptor)
    }
  })

  test('arrives whole and in order, of the smallest and the largest size', async () => {
    using connection = await pair()
    const sizes = [1, MAXIMUM_MESSAGE_LENGTH, 2, 1]
    for (const [index, size] of sizes.entries()) await connection.near.send(new Uint8Array(size).fill(index))
    for (const [index, size] of sizes.entries()) {
      const message = await connection.far.receive()
      expect(message?.bytes.length).toBe(size)
      expect(message?.bytes.every((byte) => byte === index)).toBe(true)
      expect(message?.fds).toEqual([])
    }
  })

  test('carries as many descriptors as the kernel allows, and not one more', async () => {
    using connection = await pair()
    await connection.near.send(bytes('x'), Array(MAXIMUM_DESCRIPTORS).fill(0))
    const message = await connection.far.receive()
    expect(new Set(message?.fds).size).toBe(MAXIMUM_DESCRIPTORS)
    expect(new Set(message?.fds.map(inode))).toEqual(new Set([inode(0)]))
    for (const fd of message?.fds ?? []) closeFd(fd)
    await expect(connection.near.send(bytes('x'), Array(MAXIMUM_DESCRIPTORS + 1).fill(0))).rejects.toMatchObject({
      errno: 'EINVAL',
      message: expect.stringContaining('254 descriptors'),
    })
  })

  test.each([
    ['empty', new Uint8Array(), [], 'EINVAL'],
    ['too long', new Uint8Array(MAXIMUM_MESSAGE_LENGTH + 1), [], 'EMSGSIZE'],
    ['with a descriptor that is none', Uint8Array.of(1), [99_999], 'EBADF'],
  ])('that is %s is not sent', async (_what, content, fds, errno) => {
    using connection = await pair()
    await expect(connection.near.send(content, fds)).rejects.toMatchObject({ errno })
    await connection.near.send(bytes('next'))
    expect((await connection.far.receive())?.bytes).toEqual(bytes('next'))
  })

  test('that is longer than anybody may send is refused, its descriptors are closed, and the next one arrives', async () => {
    using listener = UnixListener.open(path)
    const fd = unixSocket()
    const address = Buffer.from(`\x01\0${path}\0`, 'latin1')
    check('connect', libc.connect(fd, address, address.length))
    using far = (await listener.accept()) as UnixConnection
    const before = openFiles()
    sendRaw(fd, new Uint8Array(MAXIMUM_MESSAGE_LENGTH + 1), [0, 0, 0])
    await expect(far.receive()).rejects.toMatchObject({ errno: 'EMSGSIZE' })
    expect(openFiles()).toBeLessThanOrEqual(before)
    using near = new UnixConnection(fd)
    await near.send(bytes('next'))
    expect((await far.receive())?.bytes).toEqual(bytes('next'))
  })
})

describe('waiting', () => {
  test('for a message leaves the event loop to others', async () => {
    using connection = await pair()
    const received = connection.far.receive()
    let ticks = 0
    for (let count = 0; count < 5; count++) {
      await Bun.sleep(1)
      ticks++
    }
    await connection.near.send(bytes('late'))
    expect((await received)?.bytes).toEqual(bytes('late'))
    expect(ticks).toBe(5)
  })

  test('for room in the queue ends when there is some', async () => {
    using connection = await pair()
    const message = new Uint8Array(MAXIMUM_MESSAGE_LENGTH)
    let sent = 0
    const full = async () => {
      for (;;) {
        await connection.near.send(message, [], { timeoutMilliseconds: 20 })
        sent++
      }
    }
    await expect(full()).rejects.toMatchObject({ errno: 'ETIMEDOUT', call: 'sendmsg' })
    await full().catch(() => {})
    const sending = connection.near.send(bytes('last'))
    for (let index = 0; index < sent; index++)
      expect((await connection.far.receive())?.bytes.length).toBe(message.length)
    await sending
    expect((await connection.far.receive())?.bytes).toEqual(bytes('last'))
  })

  test('has a limit, and can be aborted', async () => {
    using connection = await pair()
    await expect(connection.near.receive({ timeoutMilliseconds: 5 })).rejects.toMatchObject({ errno: 'ETIMEDOUT' })
    const controller = new AbortController()
    const received = connection.near.receive({ signal: controller.signal })
    controller.abort(new Error('no longer wanted'))
    await expect(received).rejects.toThrow('no longer wanted')
  })
})

describe('the end of a connection', () => {
  test('is told after the last message', async () => {
    using connection = await pair()
    await connection.near.send(bytes('last'))
    connection.near.close()
    connection.near.close()
    expect((await connection.far.receive())?.bytes).toEqual(bytes('last'))
    expect(await connection.far.receive()).toBeUndefined()
    await expect(connection.far.send(bytes('x'))).rejects.toMatchObject({ errno: 'EPIPE' })
    await expect(connection.near.receive()).rejects.toMatchObject({ errno: 'EBADF' })
  })

  test('closes descriptors that nobody received', async () => {
    const before = openFiles()
    {
      using connection = await pair()
      const socket = unixSocket()
      await connection.near.send(bytes('x'), [socket])
      closeFd(socket)
    }
    expect(openFiles()).toBeLessThanOrEqual(before)
  })
})

describe('a listener', () => {
  test('has a socket file for its user only, whatever the umask, and removes it', () => {
    const umask = process.umask(0)
    try {
      using listener = UnixListener.open(path)
      expect(statSync(listener.path).mode & 0o7777).toBe(0o600)
    } finally {
      process.umask(umask)
    }
    expect(existsSync(path)).toBe(false)
    expect(thrownBy(() => connectUnix(path))).toMatchObject({ errno: 'ENOENT' })
  })

  test('does not touch a file that is no socket', () => {
    writeFileSync(path, 'precious')
    expect(thrownBy(() => UnixListener.open(path))).toMatchObject({
      errno: 'EADDRINUSE',
      message: expect.stringContaining('no socket'),
    })
    expect(readFileSync(path, 'utf8')).toBe('precious')
  })

  test("leaves another listener's file", () => {
    const first = UnixListener.open(path)
    rmSync(path)
    using second = UnixListener.open(path)
    first.close()
    expect(existsSync(second.path)).toBe(true)
  })

  test('stops waiting when it is closed, or when that is asked for', async () => {
    const listener = UnixListener.open(path)
    const controller = new AbortController()
    const aborted = listener.accept({ signal: controller.signal })
    controller.abort(new Error('no longer wanted'))
    await expect(aborted).rejects.toThrow('no longer wanted')
    const accepted = listener.accept()
    listener.close()
    listener.close()
    expect(await accepted).toBeUndefined()
  })

  test.each([
    ['too long', `/${'x'.repeat(107)}`, 'EINVAL'],
    ['empty', '', 'EINVAL'],
    ['in a folder that does not exist', '/nonesuch/socket', 'ENOENT'],
  ])('refuses a path that is %s', (_what, wrong, errno) => {
    const before = openFiles()
    expect(thrownBy(() => UnixListener.open(wrong))).toMatchObject({ errno })
    expect(openFiles()).toBeLessThanOrEqual(before)
  })
})

/** sendmsg(2) without the limits of this package. */
function sendRaw(fd: number, content: Uint8Array, fds: readonly number[]): void {
  const [data, control] = [new NativeMemory(content.length), new NativeMemory(16 + 8 * fds.length)]
  const [iovec, header] = [new NativeMemory(16), new NativeMemory(56)]
  iovec.setPointer(0, data)
  iovec.view.setBigUint64(8, BigInt(content.length), true)
  control.view.setBigUint64(0, BigInt(16 + 4 * fds.length), true)
  control.view.setInt32(8, 1, true)
  control.view.setInt32(12, 1, true)
  for (const [index, descriptor] of fds.entries()) control.view.setInt32(16 + 4 * index, descriptor, true)
  header.setPointer(16, iovec)
  header.view.setBigUint64(24, 1n, true)
  header.setPointer(32, control)
  header.view.setBigUint64(40, BigInt(16 + 4 * fds.length), true)
  check('sendmsg', Number(libc.sendmsg(fd, header.bytes, 0)))
}
