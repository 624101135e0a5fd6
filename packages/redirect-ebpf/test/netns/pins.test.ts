// An ordinary user without CAP_SYS_ADMIN and CAP_PERFMON: what it attaches is pinned in a bpffs that belongs to it, and found again there.
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FlowKey, MacAddress, RedirectorError, type Rule } from '@xoffload/core'
import { Rtnetlink } from '@xoffload/linux'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { run, TestNetwork } from './network.ts'

const UID = 64_242
const TARGET = MacAddress.parse('02:00:00:00:00:22')
const FLOW = FlowKey.of({ address: '10.77.0.77', port: 4000 }, { address: '10.77.0.78', port: 81 })
const RULE: Rule = { action: 'steer', flow: FLOW, target: { mode: 'l2', mac: TARGET } }
const RULE_WORD = `${Buffer.from(FLOW.bytes).toString('hex')}=${TARGET}`

let network: TestNetwork
let directory: string
let pins: string
let children: ReturnType<typeof Bun.spawn>[]

beforeEach(() => {
  network = new TestNetwork()
  children = []
  directory = mkdtempSync(join(tmpdir(), 'xoffload-pins-'))
  pins = join(directory, 'pins')
  mkdirSync(pins)
  run('mount', '-t', 'bpf', '-o', 'mode=0700', 'bpf', pins)
  chownSync(pins, UID, UID)
  run('mknod', '--mode=666', join(directory, 'tun'), 'c', '10', '200')
  run('chmod', '711', directory)
})
afterEach(async () => {
  for (const child of children) {
    child.kill('SIGKILL')
    await child.exited
  }
  run('umount', pins)
  rmSync(directory, { recursive: true })
  network[Symbol.dispose]()
})

interface Owner {
  readonly child: ReturnType<typeof Bun.spawn>
  readonly answer: { opened: boolean; reason?: string; message?: string }
}

/** Runs owner.ts in the gateway's namespace as the ordinary user. */
async function start(device: string, environment: Record<string, string>, ...rules: string[]): Promise<Owner> {
  const capabilities = '-all,+net_admin,+bpf'
  const sets = ['--bounding-set', capabilities, '--inh-caps', capabilities, '--ambient-caps', capabilities]
  const user = ['setpriv', '--reuid', `${UID}`, '--regid', `${UID}`, '--clear-groups', ...sets, '--no-new-privs', '--']
  const words = Object.entries({ HOME: '/', ...environment }).map(([name, value]) => `${name}=${value}`)
  const program = new URL('owner.ts', import.meta.url).pathname
  const child = Bun.spawn(
    [
      ...['nsenter', `--net=${network.gateway.path}`, 'unshare', '--mount', 'sh', '-ec'],
      ...['mount --bind "$0" /dev/net/tun; exec "$@"', join(directory, 'tun')],
      ...[...user, 'env', ...words, process.execPath, program, device, ...rules],
    ],
    { stdout: 'pipe', stderr: 'inherit' },
  )
  children.push(child)
  const { value } = await child.stdout.getReader().read()
  return { child, answer: JSON.parse(new TextDecoder().decode(value)) }
}

async function kill({ child }: Owner): Promise<void> {
  child.kill('SIGKILL')
  await child.exited
}

/** Without what the kernel itself puts into a bpffs (CONFIG_BPF_PRELOAD). */
const places = () => readdirSync(pins).filter((name) => name.startsWith('net'))
const generations = () => places().flatMap((place) => readdirSync(join(pins, place)))

async function reasonOf(operation: Promise<unknown>): Promise<string | undefined> {
  const error = await operation.catch((reason: unknown) => reason)
  return error instanceof RedirectorError ? error.reason : undefined
}

test.each([
  ['tc', {}],
  ['xdp', { XOFFLOAD_XDP: 'driver' }],
])('what one of %s that was killed left is adopted in its pins, and close removes them', async (_kind, environment) => {
  const first = await start('eth0', { XOFFLOAD_PINS: pins, ...environment }, RULE_WORD)
  expect(first.answer).toEqual({ opened: true })
  const [generation] = generations()
  await kill(first)
  const second = await start('eth0', { XOFFLOAD_PINS: pins, ...environment })
  expect(second.answer).toEqual({ opened: true })
  // Those of the first are gone.
  expect(generations()).toHaveLength(1)
  expect(generations()).not.toEqual([generation ?? ''])
  await kill(second)
  const third = new TcRedirector({ device: 'eth0', pins })
  await network.gateway.inside(() => third.open())
  const rules: Rule[] = []
  for await (const { rule } of third.list()) rules.push(rule)
  expect(rules).toEqual([RULE])
  await network.gateway.inside(() => third.close())
  expect(places()).toEqual([])
})

test('without pins it is told what it lacks, and changes nothing', async () => {
  const first = await start('eth0', {}, RULE_WORD)
  expect(first.answer).toEqual({ opened: true })
  await kill(first)
  const { answer } = await start('eth0', {})
  expect(answer).toMatchObject({ opened: false, reason: 'permission' })
  expect(answer.message).toContain('not pinned')
  expect(answer.message).toContain('CAP_SYS_ADMIN')
  const root = new TcRedirector({ device: 'eth0' })
  await network.gateway.inside(() => root.open())
  await network.gateway.inside(() => root.close())
})

test('release leaves the pins, and a process that failed to open leaves those that are in use', async () => {
  const first = new TcRedirector({ device: 'eth0', pins })
  await network.gateway.inside(() => first.open())
  const pinned = generations()
  expect(await reasonOf(network.gateway.inside(() => new TcRedirector({ device: 'eth0', pins }).open()))).toBe('busy')
  expect(generations()).toEqual(pinned)
  await first.release()
  expect(generations()).toEqual(pinned)
  await network.gateway.inside(() => first.open())
  await network.gateway.inside(() => first.close())
  expect(places()).toEqual([])
})

test('the pins of a device that went away while nobody had it are removed by the next one', async () => {
  const ip = (...words: string[]) => run('ip', '-n', network.gateway.namespace, 'link', ...words)
  ip('add', 'dying0', 'type', 'veth', 'peer', 'name', 'dying1')
  await kill(await start('dying0', { XOFFLOAD_PINS: pins }))
  ip('del', 'dying0')
  const next = new TcRedirector({ device: 'eth0', pins })
  await network.gateway.inside(() => next.open())
  const index = network.gateway.inside(() => {
    using rtnetlink = new Rtnetlink()
    return rtnetlink.link('eth0')?.index
  })
  expect(places()).toEqual([expect.stringContaining(`-device${index}-`)])
  await network.gateway.inside(() => next.close())
  expect(places()).toEqual([])
})

test('a generation that was pinned but never attached is removed', async () => {
  const first = new TcRedirector({ device: 'eth0', pins })
  await network.gateway.inside(() => first.open())
  const [place = ''] = places()
  await first.release()
  mkdirSync(join(pins, place, '1'))
  await network.gateway.inside(() => first.open())
  expect(generations()).toHaveLength(1)
  expect(generations()).not.toContain('1')
  await network.gateway.inside(() => first.close())
})

test('a directory on another file system is refused', async () => {
  const redirector = new TcRedirector({ device: 'eth0', pins: directory })
  const refusal = network.gateway.inside(() => redirector.open()).catch((error: unknown) => error)
  expect(String(await refusal)).toContain('mount -t bpf')
})
