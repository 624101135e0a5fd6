import { closeSync, openSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { errorText } from '@xoffload/core'
import { readSysctl } from '@xoffload/linux'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'

/** What Bun passes to listen(2). */
const BACKLOG = 512
/** RFC 3704; Documentation/networking/ip-sysctl.rst, rp_filter. */
const STRICT = 1

/** Settings of the network stack (Documentation/networking/ip-sysctl.rst). */
export const settingsCheck: Check = {
  name: 'settings',
  run({ role, config }) {
    const results = [timestamps()]
    if (role === 'gateway') results.push(backlog())
    if (role === 'server' && config !== undefined)
      results.push(reversePath(config.device), ...arpSettings(config.device))
    return worst([...results, ok('the network settings are as they should be')])
  },
}

function timestamps(): Result | undefined {
  if (readSysctl('ipv4/tcp_timestamps') !== '0') return undefined
  const reason = 'connections are made without timestamps, and lose the protection of RFC 7323 against old segments'
  return warning(`${reason}: sysctl net.ipv4.tcp_timestamps=1`)
}

function backlog(): Result | undefined {
  const most = Number(readSysctl('core/somaxconn'))
  if (most >= BACKLOG) return undefined
  return warning(`only ${most} connections can wait to be accepted: sysctl net.core.somaxconn=4096`)
}

/** A steered packet has a client's address, and must be what this host expects on that device. */
function reversePath(device: string): Result | undefined {
  const mode = Math.max(...['all', device].map((scope) => Number(readSysctl(`ipv4/conf/${scope}/rp_filter`))))
  const others = Object.keys(networkInterfaces()).filter((name) => name !== 'lo' && name !== device)
  if (mode !== STRICT || others.length === 0) return undefined
  const reason = `packets of clients that this host reaches through ${others.join(', ')} are dropped at ${device}`
  return warning(`${reason}: sysctl net.ipv4.conf.all.rp_filter=2`)
}

/** The agent sets them when it starts. */
function arpSettings(device: string): (Result | undefined)[] {
  return [
    ['arp_ignore', '1'],
    ['arp_announce', '2'],
  ].map(([name, value]) => {
    const setting = `ipv4/conf/${device}/${name}`
    if (readSysctl(setting) === value) return undefined
    const problem = cannotWrite(`/proc/sys/net/${setting}`)
    if (problem === undefined) return undefined
    return failed(
      `the agent must set ${setting} to ${value} and cannot (${problem}): set it, or make /proc/sys writable`,
    )
  })
}

/** Opened, not asked: access(2) judges by the real user, without the capabilities. */
function cannotWrite(path: string): string | undefined {
  try {
    closeSync(openSync(path, 'r+'))
    return undefined
  } catch (error) {
    return errorText(error)
  }
}
