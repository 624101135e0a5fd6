/** The systemd units give the processes what they need, and no more. */
import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_PINS } from '@xoffload/redirect-ebpf'
import { neededCapabilities } from '../../src/doctor/index.ts'

const folder = join(import.meta.dir, '../../systemd')
const roles = ['gateway', 'server'] as const

/** The settings of a unit's section [Service] (systemd.syntax(7)): those that are given once. */
function service(role: (typeof roles)[number]): Map<string, string> {
  const text = readFileSync(join(folder, `xoffload-${role}.service`), 'utf8')
  const section = /^\[Service\]$([\s\S]*?)^\[/m.exec(text)?.[1] ?? ''
  const lines = section.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const settings = lines.map((line) => line.split(/=(.*)/s, 2) as [string, string])
  expect(new Set(settings.map(([key]) => key)).size).toBe(settings.length)
  return new Map(settings)
}

test.each(roles)('the %s has exactly the capabilities that the doctor asks for', (role) => {
  const settings = service(role)
  const needed = neededCapabilities(undefined).map(({ name }) => name)
  expect(settings.get('AmbientCapabilities')?.split(' ').sort()).toEqual([...needed].sort())
  expect(settings.get('CapabilityBoundingSet')).toBe(settings.get('AmbientCapabilities') ?? '')
  expect(settings.get('NoNewPrivileges')).toBe('yes')
})

test.each(roles)('neither does the %s have one that gives everything', (role) => {
  expect(service(role).get('AmbientCapabilities')).not.toMatch(/CAP_SYS_ADMIN|CAP_PERFMON|CAP_DAC|CAP_SETUID/)
})

test.each(roles)('the %s finds a bpffs of its user where it looks for what is pinned, mounted once', (role) => {
  // As systemd runs it: with all privileges, when the runtime directory is there.
  const command = service(role).get('ExecStartPre')?.replace(/^\+/, '').replace('xoffload:xoffload', '64242:64242')
  const script = `
    mount -t tmpfs tmpfs /run; mkdir /run/xoffload
    ${command}
    ${command}
    stat --file-system --format=%T ${DEFAULT_PINS}; stat --format=%u:%g:%a ${DEFAULT_PINS}
    grep --count " ${DEFAULT_PINS} " /proc/self/mountinfo`
  // The kernel adds the sticky bit (kernel/bpf/inode.c).
  const { stdout, stderr } = Bun.spawnSync(['unshare', '--mount', 'sh', '-ec', script])
  expect(stderr.toString()).toBe('')
  expect(stdout.toString().trim().split('\n')).toEqual(['bpf_fs', '64242:64242:1700', '1'])
})

test.each(roles)('the %s runs as the user that sysusers.d makes, with its own configuration', (role) => {
  const settings = service(role)
  const [, user] = /^u (\S+) /m.exec(readFileSync(join(folder, 'xoffload.sysusers.conf'), 'utf8')) ?? []
  expect(user).toBeDefined()
  expect(settings.get('User')).toBe(user ?? '')
  expect(settings.get('ExecStart')).toBe(`/usr/bin/env xoffload ${role} -c /etc/xoffload/${role}.toml`)
})

test('a service port that anybody may listen on needs no capability for it', () => {
  const names = (ports: readonly number[]) => neededCapabilities(ports).map(({ name }) => name)
  expect(names([65535])).not.toContain('CAP_NET_BIND_SERVICE')
  // net.ipv4.ip_unprivileged_port_start may be 0, and then no port needs it.
  const first = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
  expect(names([65535, 1]).includes('CAP_NET_BIND_SERVICE')).toBe(first > 1)
})

test('both units differ in nothing but the role', () => {
  const [gateway, server] = roles.map((role) => [...service(role)].filter(([key]) => key !== 'ExecStart'))
  expect(gateway).toEqual(server ?? [])
})
