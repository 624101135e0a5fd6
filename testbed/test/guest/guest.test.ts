import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Guest, GuestError, GuestKernelError } from '../../src/guest/index.ts'
import { allPids } from '../../src/proc.ts'

/** Starts a guest and waits. */
const child = join(import.meta.dir, 'starting.ts')

/** The QEMU of a guest, or none. */
function machineOf(share: string): number[] {
  return allPids().filter((pid) => commandLine(pid).includes(join(share, '..')))
}

/** What there is of a guest: its directory and its QEMU. */
function remains(share: string): string[] {
  const directory = join(share, '..')
  return [...(existsSync(directory) ? [directory] : []), ...machineOf(share).map(String)]
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

describe('a guest', () => {
  let guest: Guest
  beforeAll(async () => {
    guest = await Guest.start()
  })
  afterAll(() => guest.close())

  test('has its own kernel, and the programs of the host', async () => {
    const { stdout } = await guest.run(['uname', '-r'])
    expect(stdout.trim()).toBe(guest.kernel.release)
    expect((await guest.run(['bun', '--version'])).stdout.trim()).toBe(Bun.version)
  })

  test('hands on output, exit code, environment and directory', async () => {
    const script = 'printf "%s %s" "$WORD" "$(pwd)"; echo bad >&2; exit 7'
    const options = { env: { WORD: 'a b' }, cwd: '/usr', allowFailure: true }
    expect(await guest.run(['sh', '-c', script], options)).toEqual({ stdout: 'a b /usr', stderr: 'bad\n', exitCode: 7 })
    expect((await guest.run(['printf', '%s|', '', 'x', ''])).stdout).toBe('|x||')
  })

  test('throws when a command fails, unless that is allowed', async () => {
    const failing = guest.run(['sh', '-c', 'echo no such thing >&2; exit 3'])
    await expect(failing).rejects.toThrow(/ended with exit code 3: no such thing/)
    await expect(guest.run(['sh', '-c', 'kill -9 $$'])).rejects.toThrow('was ended by signal 9')
    await expect(guest.run(['no-such-program'])).rejects.toThrow(/exit code 127: cannot run no-such-program/)
    await expect(guest.run(['true'], { cwd: '/nowhere' })).rejects.toThrow('cannot enter /nowhere')
  })

  test('runs several commands at once and carries much output', async () => {
    const script = 'for i in 1 2 3; do echo $0; done; head -c 300000 /dev/zero | tr "\\0" "$0"'
    const letters = ['a', 'b', 'c', 'd']
    const results = await Promise.all(letters.map((letter) => guest.run(['sh', '-c', script, letter])))
    for (const [index, { stdout }] of results.entries()) {
      const letter = letters[index] ?? ''
      expect(stdout).toBe(`${`${letter}\n`.repeat(3)}${letter.repeat(300_000)}`)
    }
  })

  test('gives output as it comes', async () => {
    const first = Promise.withResolvers<string>()
    const abort = new AbortController()
    const running = guest.run(['sh', '-c', 'echo ready; sleep 600'], {
      signal: abort.signal,
      onOutput: (bytes, stream) => first.resolve(`${stream} ${new TextDecoder().decode(bytes)}`),
    })
    expect(await first.promise).toBe('stdout ready\n')
    abort.abort()
    await expect(running).rejects.toThrow('was aborted')
  })

  test('kills what takes too long, with its children', async () => {
    const script = 'echo started; sleep 601 & sleep 601'
    await expect(guest.run(['sh', '-c', script], { timeout: 1_000 })).rejects.toThrow('took longer than 1000 ms')
    const { stdout } = await guest.run(['sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "'])
    expect(stdout).not.toContain('sleep 601')
  })

  test('refuses output without end', async () => {
    await expect(guest.run(['yes'])).rejects.toThrow('wrote more than')
  })

  test('cannot change the host but in the share, which both see', async () => {
    const outside = join(import.meta.dir, 'written-by-guest')
    const script = `echo data >${outside} && cat ${outside} && echo data >$1/from-guest && cat $1/from-host`
    writeFileSync(join(guest.share, 'from-host'), 'hello')
    expect((await guest.run(['sh', '-ec', script, 'sh', guest.share])).stdout).toBe('data\nhello')
    expect(existsSync(outside)).toBe(false)
    expect(await Bun.file(join(guest.share, 'from-guest')).text()).toBe('data\n')
  })

  test('knows the time, and has random numbers of its own', async () => {
    const before = Date.now()
    const seconds = Number((await guest.run(['date', '+%s'])).stdout)
    expect(seconds).toBeGreaterThan(before / 1000 - 5)
    expect(seconds).toBeLessThan(Date.now() / 1000 + 5)
    await using other = await Guest.start()
    const random = ['cat', '/proc/sys/kernel/random/uuid'] as const
    const [one, two] = await Promise.all([guest.run([...random]), other.run([...random])])
    expect(one.stdout).not.toBe(two.stdout)
  })
})

describe('trouble', () => {
  test('a warning of the kernel makes closing fail, and is told', async () => {
    const guest = await Guest.start()
    expect(await guest.kernelProblems()).toEqual([])
    await guest.run(['sh', '-c', 'echo "WARNING: CPU: 0 PID: 1 at net/core/dev.c:1" >/dev/kmsg'])
    const closing = guest.close()
    await expect(closing).rejects.toThrow(GuestKernelError)
    await expect(closing).rejects.toThrow('net/core/dev.c:1')
    expect(remains(guest.share)).toEqual([])
  })

  test('a panic is an error with the end of the console', async () => {
    await using stack = new AsyncDisposableStack()
    const guest = await Guest.start()
    stack.defer(() => guest.kill())
    const running = guest.run(['sh', '-c', 'sleep 600'])
    const other = guest.run(['sh', '-c', 'echo c >/proc/sysrq-trigger'])
    for (const promise of [running, other]) {
      const error = await promise.catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(GuestError)
      expect((error as GuestError).message).toContain('The guest ended by itself')
      expect((error as GuestError).console).toContain('sysrq triggered crash')
    }
    await expect(guest.run(['true'])).rejects.toThrow(GuestError)
    await guest.kill()
    expect(remains(guest.share)).toEqual([])
  })

  test('a guest that hangs is an error, for every command in it', async () => {
    const guest = await Guest.start({ hangTimeout: 500 })
    const others = Promise.allSettled([guest.run(['sleep', '600'])])
    for (const pid of machineOf(guest.share)) process.kill(pid, 'SIGSTOP')
    await expect(guest.run(['true'], { timeout: 100 })).rejects.toThrow('The guest hangs: it does not end "true"')
    expect(await others).toMatchObject([{ status: 'rejected', reason: { name: 'GuestError' } }])
    await guest.close()
    expect(remains(guest.share)).toEqual([])
  })

  test('a guest that was closed says so', async () => {
    const guest = await Guest.start()
    await Promise.all([guest.close(), guest.close()])
    await expect(guest.run(['true'])).rejects.toThrow('The guest was closed')
    expect(remains(guest.share)).toEqual([])
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('nothing is left after %s', async (signal) => {
    const program = Bun.spawn([process.execPath, child], { stdout: 'pipe' })
    const { value } = await program.stdout.getReader().read()
    const share = new TextDecoder().decode(value).trim()
    expect(remains(share).length).toBeGreaterThan(1)
    program.kill(signal)
    await program.exited
    // The files of a process that was killed are removed by the next start.
    if (signal === 'SIGKILL') await (await Guest.start()).close()
    expect(remains(share)).toEqual([])
    expect(program.signalCode).toBe(signal)
  })
})

test('guests at once do not see each other', async () => {
  const guests = await Promise.all([Guest.start(), Guest.start()])
  for (const [index, guest] of guests.entries()) await guest.run(['ip', 'link', 'add', `mark${index}`, 'type', 'veth'])
  const devices = await Promise.all(guests.map((guest) => guest.run(['ls', '/sys/class/net'])))
  expect(devices[0]?.stdout).not.toContain('mark1')
  expect(devices[1]?.stdout).not.toContain('mark0')
  await Promise.all(guests.map((guest) => guest.close()))
  expect(
    readdirSync('/run/xoffload-testbed').filter((name) => guests.some(({ share }) => share.includes(name))),
  ).toEqual([])
})
