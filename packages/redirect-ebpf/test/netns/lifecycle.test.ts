import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { FlowKey, MacAddress, RedirectorError, type Rule } from '@xoffload/core'
import { attachTc, BpfMap, BpfObject, bpfProgramInfo, createClsact, Rtnetlink, type Tap } from '@xoffload/linux'
import { type EbpfRedirectorOptions, TcRedirector } from '@xoffload/redirect-ebpf'
import { tcpFrame } from './frames.ts'
import { run, SERVICE_IPV4, snmp, TestNetwork, until } from './network.ts'

const TARGET = MacAddress.parse('02:00:00:00:00:22')
const CLIENT = MacAddress.parse('02:00:00:00:00:11')

let network: TestNetwork
let raw: Tap

beforeAll(() => {
  network = new TestNetwork()
  raw = network.addRawPort('raw')
})
afterAll(() => {
  raw.close()
  network[Symbol.dispose]()
})

const flowOf = (port: number) => FlowKey.of({ address: '10.77.0.77', port }, { address: SERVICE_IPV4, port: 81 })
const hold = (port: number): Rule => ({ action: 'hold', flow: flowOf(port) })
const steer = (port: number): Rule => ({ action: 'steer', flow: flowOf(port), target: { mode: 'l2', mac: TARGET } })

function send(port: number): void {
  const flow = flowOf(port)
  raw.write(tcpFrame({ source: CLIENT, destination: network.gateway.mac, from: flow.client, to: flow.service }))
}

async function opened(options: Partial<EbpfRedirectorOptions> = {}): Promise<TcRedirector & AsyncDisposable> {
  const redirector = new TcRedirector({ device: 'eth0', ...options })
  await network.gateway.inside(() => redirector.open())
  return Object.assign(redirector, { [Symbol.asyncDispose]: () => network.gateway.inside(() => redirector.close()) })
}

async function refusal(operation: Promise<unknown>): Promise<RedirectorError> {
  const error = await operation.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(RedirectorError)
  return error as RedirectorError
}

async function listed(redirector: TcRedirector): Promise<Map<string, Rule>> {
  const rules = new Map<string, Rule>()
  for await (const { rule } of redirector.list()) rules.set(rule.flow.toString(), rule)
  return rules
}

const tc = (...args: string[]) => run('tc', '-n', network.gateway.namespace, ...args)
const devices = () => run('ip', '-n', network.gateway.namespace, '-o', 'link').trim().split('\n').length

/** Descriptors of this process that are BPF programs, maps or TAP devices. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /bpf|tun/.test(readlinkSync(`/proc/self/fd/${fd}`))
    } catch {
      return false
    }
  }).length
}

/** The ids of the programs and maps of the filter at our place. */
function kernelObjects(): { programs: number[]; maps: number[] } {
  return network.gateway.inside(() => {
    using rtnetlink = new Rtnetlink()
    const ifindex = rtnetlink.link('eth0')?.index ?? 0
    const programs = (['ingress', 'egress'] as const)
      .flatMap((direction) => rtnetlink.filters(ifindex, direction))
      .flatMap(({ programId }) => (programId === undefined ? [] : [programId]))
    return { programs, maps: programs.flatMap((id) => [...(bpfProgramInfo(id)?.mapIds ?? [])]) }
  })
}

function mapExists(id: number): boolean {
  try {
    BpfMap.fromId(id).close()
    return true
  } catch {
    return false
  }
}

describe('open and close', () => {
  test('leave nothing behind: no filter, qdisc, device, program, map or descriptor', async () => {
    const before = [devices(), descriptors(), tc('qdisc', 'show')]
    const redirector = await opened()
    await redirector.put(steer(40000))
    await redirector.put(hold(40001))
    const { programs, maps } = kernelObjects()
    expect(programs.length).toBe(2)
    expect(devices()).toBe(Number(before[0]) + 1)
    expect(maps.every(mapExists)).toBe(true)
    await network.gateway.inside(() => redirector.close())
    await redirector.close()
    expect([devices(), descriptors(), tc('qdisc', 'show')]).toEqual(before)
    // The kernel frees programs and maps after a grace period.
    await until(
      'programs and maps are freed',
      () => !programs.some((id) => bpfProgramInfo(id)) && !maps.some(mapExists),
    )
  })

  test('give held packets back to the stack', async () => {
    const redirector = await opened()
    await redirector.put(hold(40000))
    send(40000)
    await until('it is held', () => redirector.statistics().heldFrames === 1)
    const resets = snmp(network.gateway, 'Tcp', 'OutRsts')
    await network.gateway.inside(() => redirector.close())
    await until('the stack answers', () => snmp(network.gateway, 'Tcp', 'OutRsts') === resets + 1)
  })

  test('a redirector can be opened again, and starts empty', async () => {
    const redirector = await opened()
    await redirector.put(steer(40000))
    await network.gateway.inside(() => redirector.close())
    await network.gateway.inside(() => redirector.open())
    expect((await listed(redirector)).size).toBe(0)
    await network.gateway.inside(() => redirector.close())
  })

  test('operations of one that is not open are refused as gone', async () => {
    const redirector = new TcRedirector({ device: 'eth0' })
    expect((await refusal(redirector.put(steer(40000)))).reason).toBe('gone')
    expect((await refusal(redirector.remove(flowOf(40000)))).reason).toBe('gone')
    expect((await refusal(redirector.counters(flowOf(40000)))).reason).toBe('gone')
    expect((await refusal(listed(redirector))).reason).toBe('gone')
  })

  test.each([
    ['capacity', 0],
    ['priority', 65536],
    ['handle', 0.5],
    ['maximumHeldBytes', -1],
  ])('the option %s of %d is refused', (name, value) => {
    expect(() => new TcRedirector({ device: 'eth0', [name]: value })).toThrow(name)
  })

  test('a device that does not exist is named', async () => {
    const error = await refusal(opened({ device: 'nonesuch0' }))
    expect(error.reason).toBe('gone')
    expect(error.message).toContain('"nonesuch0"')
  })

  test('a device that dies takes nothing along', async () => {
    run('ip', '-n', network.gateway.namespace, 'link', 'add', 'dying0', 'type', 'veth', 'peer', 'name', 'dying1')
    const before = descriptors()
    const redirector = await opened({ device: 'dying0' })
    await redirector.put(hold(40000))
    run('ip', '-n', network.gateway.namespace, 'link', 'del', 'dying0')
    await network.gateway.inside(() => redirector.close())
    expect(descriptors()).toBe(before)
  })
})

describe('rules', () => {
  test('are listed, replaced and removed', async () => {
    await using redirector = await opened()
    const ended: Rule = { ...steer(40002), ended: true } as Rule
    for (const rule of [steer(40000), hold(40001), ended]) expect(await redirector.put(rule)).toBe('active')
    const rules = [steer(40000), hold(40001), ended]
    expect(await listed(redirector)).toEqual(new Map(rules.map((rule) => [rule.flow.toString(), rule])))
    await redirector.put(steer(40001))
    expect((await listed(redirector)).get(flowOf(40001).toString())).toEqual(steer(40001))
    expect(await redirector.remove(flowOf(40001))).toBe(true)
    expect(await redirector.remove(flowOf(40001))).toBe(false)
    expect((await listed(redirector)).size).toBe(2)
  })

  test('of many flows are all listed', async () => {
    await using redirector = await opened()
    for (let port = 1; port <= 20_000; port++) await redirector.put(steer(port))
    expect((await listed(redirector)).size).toBe(20_000)
  })

  test('that do not fit are refused, and room is made by a removal', async () => {
    await using redirector = await opened({ capacity: 4 })
    expect(redirector.manifest.capacity).toBe(4)
    for (let port = 1; port <= 4; port++) await redirector.put(steer(port))
    for (const rule of [steer(5), hold(5)]) {
      const error = await refusal(redirector.put(rule))
      expect(error.reason).toBe('full')
      expect(error.message).toContain('4 entries')
    }
    await redirector.put(hold(4))
    expect(await redirector.remove(flowOf(1))).toBe(true)
    expect(await redirector.put(steer(5))).toBe('active')
    expect((await listed(redirector)).size).toBe(4)
  })

  test('that are aborted are not carried out', async () => {
    await using redirector = await opened()
    const signal = AbortSignal.abort(new Error('no longer wanted'))
    expect(redirector.put(steer(40000), { signal })).rejects.toThrow('no longer wanted')
    expect(redirector.remove(flowOf(40000), { signal })).rejects.toThrow('no longer wanted')
    expect(redirector.counters(flowOf(40000), { signal })).rejects.toThrow('no longer wanted')
    expect((await listed(redirector)).size).toBe(0)
  })
})

const OBJECT = new URL('../../bpf/tc.o', import.meta.url)

/** Attaches one program of an object where the ingress program of a redirector would be. */
function attachAtOurPlace(bytes: Uint8Array, program: string): void {
  const object = BpfObject.load(bytes)
  try {
    network.gateway.inside(() => {
      using rtnetlink = new Rtnetlink()
      const ifindex = rtnetlink.link('eth0')?.index ?? 0
      createClsact(ifindex)
      attachTc({ ifindex, direction: 'ingress', priority: 100, handle: 1 }, object.program(program))
    })
  } finally {
    object.close()
  }
}

describe('others on the device', () => {
  const u32 = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0']

  test('keep their filters and their qdisc', async () => {
    tc('qdisc', 'add', 'dev', 'eth0', 'clsact')
    for (const [hook, priority] of [
      ['ingress', '1'],
      ['ingress', '200'],
      ['egress', '1'],
    ] as const) {
      tc('filter', 'add', 'dev', 'eth0', hook, 'pref', priority, ...u32)
    }
    const before = ['ingress', 'egress'].map((hook) => tc('filter', 'show', 'dev', 'eth0', hook))
    {
      await using redirector = await opened()
      await redirector.put(hold(40000))
      send(40000)
      await until('our filter works next to theirs', () => redirector.statistics().heldFrames === 1)
    }
    expect(['ingress', 'egress'].map((hook) => tc('filter', 'show', 'dev', 'eth0', hook))).toEqual(before)
    tc('qdisc', 'del', 'dev', 'eth0', 'clsact')
  })

  test('that come later keep the qdisc that we made', async () => {
    {
      await using _redirector = await opened()
      tc('filter', 'add', 'dev', 'eth0', 'ingress', 'pref', '7', ...u32)
    }
    expect(tc('filter', 'show', 'dev', 'eth0', 'ingress')).toContain('pref 7 u32')
    tc('qdisc', 'del', 'dev', 'eth0', 'clsact')
  })

  test('at our place are not overwritten', async () => {
    tc('qdisc', 'add', 'dev', 'eth0', 'clsact')
    tc('filter', 'add', 'dev', 'eth0', 'egress', 'pref', '100', ...u32)
    const before = descriptors()
    const error = await refusal(opened())
    expect(error.reason).toBe('busy')
    expect(error.message).toContain('u32')
    expect([descriptors(), tc('filter', 'show', 'dev', 'eth0', 'ingress')]).toEqual([before, ''])
    expect(tc('filter', 'show', 'dev', 'eth0', 'egress')).toContain('pref 100 u32')
    tc('qdisc', 'del', 'dev', 'eth0', 'clsact')
  })

  test('with a BPF program at our place are named', async () => {
    attachAtOurPlace(readFileSync(OBJECT), 'xo_release')
    const error = await refusal(opened())
    expect(error.reason).toBe('busy')
    expect(error.message).toContain('"xo_release"')
    tc('qdisc', 'del', 'dev', 'eth0', 'clsact')
  })

  test('that are of another version of the layout are neither adopted nor replaced', async () => {
    const older = Buffer.from(
      readFileSync(OBJECT).toString('latin1').replaceAll('xo_flows_v3', 'xo_flows_v2'),
      'latin1',
    )
    attachAtOurPlace(older, 'xo_ingress')
    const before = [descriptors(), tc('filter', 'show', 'dev', 'eth0', 'ingress')]
    const error = await refusal(opened())
    expect(error.reason).toBe('busy')
    expect(error.message).toContain('another version of xoffload')
    expect([descriptors(), tc('filter', 'show', 'dev', 'eth0', 'ingress')]).toEqual(before)
    expect(tc('filter', 'show', 'dev', 'eth0', 'egress')).toBe('')
    tc('qdisc', 'del', 'dev', 'eth0', 'clsact')
  })

  test('a second redirector needs another priority', async () => {
    await using first = await opened()
    const error = await refusal(opened())
    expect(error.reason).toBe('busy')
    await first.put(steer(40000))
    {
      await using second = await opened({ priority: 101 })
      expect((await listed(second)).size).toBe(0)
    }
    expect((await listed(first)).size).toBe(1)
  })
})

interface Started {
  readonly child: ReturnType<typeof Bun.spawn>
  readonly answer: { opened: boolean; reason?: string; message?: string }
}

/** Runs owner.ts in the gateway's namespace, through a wrapper such as `setpriv`. */
async function startOwner(wrapper: string[], device: string, ...rules: string[]): Promise<Started> {
  const program = new URL('owner.ts', import.meta.url).pathname
  const command = ['nsenter', `--net=${network.gateway.path}`, ...wrapper, process.execPath, program, device, ...rules]
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' })
  const { value } = await child.stdout.getReader().read()
  return { child, answer: JSON.parse(new TextDecoder().decode(value)) }
}

describe('a process that dies', () => {
  test('leaves its rules working, and the next one adopts them', async () => {
    const key = (port: number) => Buffer.from(flowOf(port).bytes).toString('hex')
    const rules = [`${key(40000)}=${TARGET}@7000000000,9`, `${key(40001)}=hold@8,4000000000`, `${key(40002)}=hold`]
    const { child, answer } = await startOwner([], 'eth0', ...rules)
    expect(answer.opened).toBe(true)
    expect((await refusal(opened())).reason).toBe('busy')
    child.kill('SIGKILL')
    await child.exited

    // Nobody is there: steered packets are steered, held flows stay locked.
    const resets = snmp(network.gateway, 'Tcp', 'OutRsts')
    for (const port of [40000, 40001, 40001, 40003]) send(port)
    await until('the flow without a rule is answered', () => snmp(network.gateway, 'Tcp', 'OutRsts') === resets + 1)

    {
      await using redirector = await opened({ capacity: 10 })
      const adopted = [
        { ...steer(40000), handoff: { handoff: 7_000_000_000, epoch: 9 } },
        { ...hold(40001), handoff: { handoff: 8, epoch: 4_000_000_000 } },
        hold(40002),
      ]
      expect(await listed(redirector)).toEqual(new Map(adopted.map((rule) => [rule.flow.toString(), rule])))
      expect(redirector.manifest.capacity).toBe(1 << 20)
      expect((await redirector.counters(flowOf(40000)))?.packets).toBe(1n)
      expect((await redirector.counters(flowOf(40001)))?.packets).toBe(2n)
      // Nobody was there to store these two.
      expect(redirector.statistics()).toMatchObject({ abandonedFrames: 2, droppedHeldFrames: 2, heldFrames: 0 })
      // The adopted hold stores packets again, and releases them.
      send(40001)
      await until('it is held', () => redirector.statistics().heldFrames === 1)
      await redirector.remove(flowOf(40001))
      await until('it reaches the stack', () => snmp(network.gateway, 'Tcp', 'OutRsts') === resets + 2)
    }
    expect(tc('qdisc', 'show', 'dev', 'eth0')).not.toContain('clsact')
  })
})

describe('what a host may lack', () => {
  test('privilege: the error says which', async () => {
    const { answer } = await startOwner(['setpriv', '--inh-caps=-all', '--bounding-set=-all'], 'eth0')
    expect(answer).toMatchObject({ opened: false, reason: 'permission' })
    expect(answer.message).toContain('CAP_NET_ADMIN')
    expect(tc('qdisc', 'show', 'dev', 'eth0')).not.toContain('clsact')
  })

  test('CAP_BPF alone: the error says so', async () => {
    const without = '--bounding-set=-bpf,-sys_admin,-perfmon'
    const { answer } = await startOwner(['setpriv', '--inh-caps=-all', without], 'eth0')
    expect(answer).toMatchObject({ opened: false, reason: 'permission' })
    expect(answer.message).toContain('CAP_BPF')
    expect(tc('qdisc', 'show', 'dev', 'eth0')).not.toContain('clsact')
  })

  test('kernel BTF: it works without', async () => {
    const hide = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"'
    const { child, answer } = await startOwner(['unshare', '--mount', 'sh', '-c', hide, 'sh'], 'eth0')
    expect(answer).toEqual({ opened: true })
    child.kill('SIGKILL')
    await child.exited
    await (await opened())[Symbol.asyncDispose]()
  })

  test('libbpf: the error names the package', async () => {
    const hide = 'for file in /usr/lib*/*/libbpf.so.1*; do mount --bind /dev/null "$file"; done && exec "$@"'
    const { answer } = await startOwner(['unshare', '--mount', 'sh', '-c', hide, 'sh'], 'eth0')
    expect(answer).toMatchObject({ opened: false, reason: 'unsupported' })
    expect(answer.message).toContain('apt-get install libbpf1')
  })

  test('the TUN driver: the error says how to load it', async () => {
    const hide = 'mount -t tmpfs none /dev/net && exec "$@"'
    const { answer } = await startOwner(['unshare', '--mount', 'sh', '-c', hide, 'sh'], 'eth0')
    expect(answer).toMatchObject({ opened: false, reason: 'unsupported' })
    expect(answer.message).toContain('modprobe tun')
  })
})
