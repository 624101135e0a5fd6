import { afterEach, describe, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Testbed, TestbedError } from '@xoffload/testbed'
import { namespaceInode, processesInside } from '../../src/proc.ts'

const open: Testbed[] = []

/** Makes a testbed and waits. */
const child = join(import.meta.dir, 'leaving.ts')

async function create(...options: Parameters<typeof Testbed.create>): Promise<Testbed> {
  const testbed = await Testbed.create(...options)
  open.push(testbed)
  return testbed
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((testbed) => testbed.close()))
})

function remains(id: string): string[] {
  return [...readdirSync('/run/netns'), ...readdirSync('/run/xoffload-testbed')].filter((name) => name.includes(id))
}

/** A program that answers each TCP connection with one line. */
function answering(line: string): [string, ...string[]] {
  const program = `Bun.listen({ hostname: '::', port: 80, socket: { open(s) { s.end(${JSON.stringify(line)}) }, data() {} } })`
  return [process.execPath, '-e', program]
}

/** Connects and prints what comes. */
function asking(address: string): [string, ...string[]] {
  const program = `
    Bun.connect({ hostname: '${address}', port: 80, socket: {
      data(s, d) { process.stdout.write(d) }, end(s) { s.end() }, connectError(s, e) { console.log(e.code); process.exit(3) },
    } })`
  return [process.execPath, '-e', program]
}

describe('hosts', () => {
  test('reach each other over IPv4 and IPv6 as soon as they are made', async () => {
    const testbed = await create({ hosts: ['client', 'server1', 'server2'] })
    for (const name of ['server1', 'server2']) await testbed.host(name).spawn(answering(name)).listening(80)
    const [client, server1, server2] = [testbed.host('client'), testbed.host('server1'), testbed.host('server2')]
    expect((await client.run(asking(server1.ipv4))).stdout).toBe('server1')
    expect((await client.run(asking(server2.ipv6))).stdout).toBe('server2')
    expect((await server1.run(asking(server2.ipv4))).stdout).toBe('server2')
  })

  test('have the MAC address and the device that they say', async () => {
    const testbed = await create({ hosts: ['a', 'b'] })
    const { stdout } = await testbed.host('b').run(['ip', '-j', 'link', 'show', 'dev', testbed.host('b').device])
    expect(JSON.parse(stdout)[0].address).toBe(testbed.host('b').mac.toString())
    expect(testbed.host('b').mac.equals(testbed.host('a').mac)).toBe(false)
  })

  test('do not forward', async () => {
    const testbed = await create({ hosts: ['a'] })
    expect((await testbed.host('a').run(['cat', '/proc/sys/net/ipv4/ip_forward'])).stdout.trim()).toBe('0')
  })

  test('leave the root namespace as it was', async () => {
    const links = (): string => readdirSync('/sys/class/net').join()
    const before = links()
    await create({ hosts: ['client', 'gateway'] })
    expect(links()).toBe(before)
  })
})

describe('the service address', () => {
  test('is answered by the gateway, also when servers have it on loopback', async () => {
    const testbed = await create({ hosts: ['client', 'gateway', 'server1'], service: {} })
    await testbed.host('server1').addServiceAddress()
    for (const name of ['gateway', 'server1']) await testbed.host(name).spawn(answering(name)).listening(80)
    for (const address of [testbed.service?.ipv4, testbed.service?.ipv6]) {
      expect((await testbed.host('client').run(asking(address ?? ''))).stdout).toBe('gateway')
    }
    expect((await testbed.host('server1').run(asking(testbed.service?.ipv4 ?? ''))).stdout).toBe('server1')
  })

  test('must be on a host that exists', async () => {
    await expect(Testbed.create({ hosts: ['client'], service: {} })).rejects.toThrow('on the host "gateway"')
  })
})

describe('programs', () => {
  test('are reported when they end instead of listening', async () => {
    const testbed = await create({ hosts: ['a'] })
    const failing = testbed.host('a').spawn(['/bin/sh', '-c', 'echo no such thing >&2; exit 7'])
    await expect(failing.listening(80)).rejects.toThrow(/exit code 7 before it listened on port 80: no such thing/)
    await expect(failing.line(/ready/)).rejects.toThrow(/exit code 7 before it wrote/)
    expect(await failing.exited).toBe(7)
  })

  test('are awaited by a line, early or late', async () => {
    const testbed = await create({ hosts: ['a'] })
    const program = testbed
      .host('a')
      .spawn(['/bin/sh', '-c', 'echo one; read line; echo "$line"; exec sleep 60'], { input: 'two\n' })
    expect(await program.line(/^two$/)).toBe('two')
    expect(await program.line(/^one$/)).toBe('one')
    await expect(program.line(/three/, { timeout: 20 })).rejects.toThrow('in time')
  })

  test('count their CPU time with that of their children', async () => {
    const testbed = await create({ hosts: ['a'] })
    const burn = 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'
    const program = testbed.host('a').spawn(['/bin/sh', '-c', `(${burn}); echo burnt; exec sleep 60`])
    await program.line(/burnt/)
    const alive = program.cpuSeconds()
    expect(alive).toBeGreaterThan(0.05)
    expect(testbed.host('a').cpuSeconds()).toBe(alive)
    await program.stop()
    expect(Math.abs(program.cpuSeconds() - alive)).toBeLessThan(0.03)
  })

  test('that take too long are killed', async () => {
    const testbed = await create({ hosts: ['a'] })
    await expect(testbed.host('a').run(['sleep', '60'], { timeout: 20 })).rejects.toThrow('took longer than 20 ms')
  })

  test('end with the testbed, those too that left their process group', async () => {
    const testbed = await create({ hosts: ['a'] })
    const program = testbed.host('a').spawn(['/bin/sh', '-c', 'trap "" TERM; setsid sleep 60 & echo started; sleep 60'])
    await program.line(/started/)
    const inside = new Set([namespaceInode(testbed.host('a').namespacePath) ?? 0])
    expect(processesInside(inside).length).toBeGreaterThan(1)
    await testbed.close()
    expect(processesInside(inside)).toEqual([])
    expect(() => testbed.host('a').spawn(['true'])).toThrow('its testbed was closed')
  })
})

describe('nothing is left', () => {
  test('after close', async () => {
    const testbed = await create({ hosts: ['a', 'b'] })
    expect(remains(testbed.id)).not.toEqual([])
    await Promise.all([testbed.close(), testbed.close()])
    expect(remains(testbed.id)).toEqual([])
  })

  test('when building fails half way', async () => {
    const before = readdirSync('/run/xoffload-testbed')
    const failing = Testbed.create({ hosts: ['gateway', 'b'], service: { ipv4: '10.77.0.300' } })
    await expect(failing).rejects.toThrow('10.77.0.300')
    await failing.catch(() => undefined)
    expect(readdirSync('/run/xoffload-testbed')).toEqual(before)
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('after %s', async (signal) => {
    const program = Bun.spawn([process.execPath, child], { stdout: 'pipe' })
    const { id, namespaces } = await firstLine(program.stdout)
    expect(remains(id)).not.toEqual([])
    program.kill(signal)
    await program.exited
    expect(program.signalCode).toBe(signal)
    expect(remains(id)).toEqual([])
    expect(processesInside(new Set(namespaces))).toEqual([])
  })

  test('of a killed process once another testbed was made', async () => {
    const program = Bun.spawn([process.execPath, child], { stdout: 'pipe' })
    const { id, namespaces } = await firstLine(program.stdout)
    program.kill('SIGKILL')
    await program.exited
    expect(remains(id)).not.toEqual([])
    expect(processesInside(new Set(namespaces))).not.toEqual([])
    await Promise.all([create({ hosts: ['a'] }), create({ hosts: ['a'] })])
    expect(remains(id)).toEqual([])
    expect(processesInside(new Set(namespaces))).toEqual([])
  })

  test('nor taken from a process that lives', async () => {
    const program = Bun.spawn([process.execPath, child], { stdout: 'pipe' })
    const { id, namespaces } = await firstLine(program.stdout)
    await create({ hosts: ['a'] })
    expect(remains(id)).toHaveLength(4)
    expect(processesInside(new Set(namespaces)).length).toBeGreaterThan(1)
    program.kill('SIGINT')
    await program.exited
  })
})

test('two testbeds at once do not see each other', async () => {
  const [first, second] = await Promise.all([create({ hosts: ['a', 'b'] }), create({ hosts: ['a', 'b'] })])
  await first.host('b').spawn(answering('first')).listening(80)
  await second.host('b').spawn(answering('second')).listening(80)
  expect((await first.host('a').run(asking(first.host('b').ipv4))).stdout).toBe('first')
  expect((await second.host('a').run(asking(second.host('b').ipv4))).stdout).toBe('second')
})

describe('bad input', () => {
  test.each([
    [['a', 'a'], 'given twice'],
    [[], '1 to 99 hosts'],
    [['A'], 'no host name'],
    [['a; reboot'], 'no host name'],
    [['abcdefghijklmnop'], 'no host name'],
  ])('hosts %p', async (hosts, message) => {
    await expect(Testbed.create({ hosts })).rejects.toThrow(message)
  })

  test('a host that does not exist', async () => {
    const testbed = await create({ hosts: ['a'] })
    expect(() => testbed.host('b')).toThrow(TestbedError)
  })

  test('no root is one clear sentence', async () => {
    const program = Bun.spawn(['setpriv', '--reuid=65534', '--clear-groups', process.execPath, child], {
      stderr: 'pipe',
    })
    expect(await program.exited).not.toBe(0)
    expect(await program.stderr.text()).toMatch(/only root may do that: run this command with sudo/)
  })
})

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<{ id: string; namespaces: number[] }> {
  for await (const chunk of stream) return JSON.parse(new TextDecoder().decode(chunk))
  throw new Error('The program wrote nothing')
}
