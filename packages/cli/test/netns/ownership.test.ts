// Abstract Unix sockets have no permissions (unix(7)): who may take a gateway over is for the gateway to check.
import { afterEach, expect, test } from 'bun:test'
import { type Owner, Ownership, Predecessor } from '../../src/gateway/ownership.ts'

/** A user without a name and without rights on this machine. */
const OTHER_USER = 64_242
const TIMEOUT = 20_000

let count = 0
const cleanup: (() => unknown)[] = []
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close()
})

/** A device that no other test has. */
const newDevice = (): string => `xo-${process.pid}-${++count}`

/** An owner of the device; what it is told. */
function owner(device: string): readonly string[] {
  const told: string[] = []
  const note = (word: string) => async (): Promise<void> => void told.push(word)
  const upgrade: Owner['upgrade'] = async () => told.push('upgrade')
  const ownership = Ownership.claim(device, {
    release: note('release'),
    resume: note('resume'),
    retire: note('retire'),
    upgrade,
  })
  cleanup.push(() => ownership.close())
  return told
}

/** Runs a Perl program, which every Debian has, as a user; in it `$name` is the address of the gateway on the device. */
function perl(user: number, device: string, program: string): Bun.Subprocess<'pipe', 'pipe', 'inherit'> {
  const ids = ['--reuid', `${user}`, '--regid', `${user}`, '--clear-groups']
  const head = `use Socket; $| = 1; my $name = pack_sockaddr_un("\\0xoffload/gateway/${device}"); socket(S, AF_UNIX, SOCK_STREAM, 0);`
  const child = Bun.spawn(['setpriv', ...ids, '--', 'perl', '-e', `${head} ${program}`], {
    cwd: '/',
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  })
  cleanup.push(() => {
    child.kill('SIGKILL')
    return child.exited
  })
  return child
}

/** Says a word and prints the answer. The other end may have hung up already. */
const say = (word: string): string =>
  `$SIG{PIPE} = 'IGNORE'; connect(S, $name) or die "connect: $!"; syswrite(S, qq({"word":"${word}"}\\n)); sysread(S, my $answer, 1000); print $answer // ''`

test.each(['take-over', 'upgrade', 'listening'])(
  'another user who says "%s" is hung up on, and nothing happens',
  async (word) => {
    const device = newDevice()
    const told = owner(device)
    expect(await new Response(perl(OTHER_USER, device, say(word)).stdout).text()).toBe('')
    expect(told).toEqual([])
  },
  TIMEOUT,
)

test(
  'the same user is listened to',
  async () => {
    const device = newDevice()
    const told = owner(device)
    expect(await new Response(perl(0, device, say('take-over')).stdout).text()).toBe('{"word":"released"}\n')
    expect(told[0]).toBe('release')
  },
  TIMEOUT,
)

test(
  'a process of another user that has the name is not asked to give anything up',
  async () => {
    const device = newDevice()
    const impostor = perl(
      OTHER_USER,
      device,
      'bind(S, $name) or die "bind: $!"; listen(S, 8); print "ready"; accept(C, S); sysread(C, my $said, 1000); print $said // ""',
    )
    const reader = impostor.stdout.getReader()
    const decoder = new TextDecoder()
    expect(decoder.decode((await reader.read()).value)).toBe('ready')
    await expect(Predecessor.find(device)).rejects.toThrow('a process of another user has the name')
    expect((await reader.read()).done).toBe(true)
  },
  TIMEOUT,
)
