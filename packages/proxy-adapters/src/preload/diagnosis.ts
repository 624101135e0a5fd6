import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import { basename } from 'node:path'
import { type Endpoint, formatEndpoint } from '@xoffload/core'
import { PreloadError } from './errors.ts'
import { SOCKET_VARIABLE } from './library.ts'

/** TCP_LISTEN as /proc/net/tcp shows it (include/net/tcp_states.h). */
const LISTEN = '0A'
/** Program headers lie at the start of a file; PT_INTERP names the dynamic linker (elf(5)). */
const ELF_HEAD_LENGTH = 4096
const PT_INTERP = 3

/**
 * Why no process of the program that listens there has introduced itself, from what /proc tells: `no-listener`, `not-loaded`, or `timeout` when
 * it has the shim, or this process may not look.
 */
export function explainListener(listener: Endpoint): PreloadError {
  const where = formatEndpoint(listener)
  const inodes = listeningInodes(listener.port)
  if (inodes.size === 0) return new PreloadError('no-listener', `nobody listens at ${where}: start the server program`)
  const owners = processesWith(inodes)
  const [first] = owners
  if (first === undefined) {
    return new PreloadError('timeout', `this process may not see who listens at ${where}, and nobody introduced itself`)
  }
  const bare = owners.find((pid) => !hasShim(pid))
  if (bare !== undefined) return new PreloadError('not-loaded', notLoaded(bare, where))
  const advice = `is it hung, does its ${SOCKET_VARIABLE} name another socket, or may it not reach that file (chroot)?`
  return new PreloadError(
    'timeout',
    `${nameOf(first)} listens at ${where} with the shim, but does not answer: ${advice}`,
  )
}

function notLoaded(pid: number, where: string): string {
  const advice = isStatic(pid)
    ? 'it is a static binary, which cannot take connections: use one that is linked with the C library'
    : `start it with the environment that preloadEnvironment gives (LD_PRELOAD, ${SOCKET_VARIABLE})`
  return `${nameOf(pid)} listens at ${where} without the shim: ${advice}`
}

/** Inodes of the sockets that listen at a port, whatever the address. */
function listeningInodes(port: number): Set<string> {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  const inodes = new Set<string>()
  for (const file of ['/proc/thread-self/net/tcp', '/proc/thread-self/net/tcp6']) {
    for (const line of (textOf(file) ?? '').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === LISTEN && local?.split(':')[1] === wanted && inode !== undefined) inodes.add(`socket:[${inode}]`)
    }
  }
  return inodes
}

function processesWith(files: ReadonlySet<string>): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => descriptorsOf(pid).some((file) => files.has(file)))
}

/** What the descriptors of a process are; nothing when it has ended or belongs to somebody else. */
function descriptorsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`
  try {
    return readdirSync(folder).map((fd) => orUndefined(() => readlinkSync(`${folder}/${fd}`)) ?? '')
  } catch {
    return []
  }
}

function hasShim(pid: number): boolean {
  return textOf(`/proc/${pid}/maps`)?.includes('xoffload-preload.so') ?? false
}

function nameOf(pid: number): string {
  const path = orUndefined(() => readlinkSync(`/proc/${pid}/exe`))
  return path === undefined ? `process ${pid}` : `${basename(path)} (process ${pid})`
}

/** Whether the program has no dynamic linker, and so nobody who reads LD_PRELOAD. */
function isStatic(pid: number): boolean {
  const bytes = orUndefined(() => headOf(`/proc/${pid}/exe`))
  if (bytes === undefined || bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) return false
  const start = Number(bytes.readBigUInt64LE(32))
  const size = bytes.readUInt16LE(54)
  const count = bytes.readUInt16LE(56)
  for (let index = 0; index < count && start + size * (index + 1) <= bytes.length; index++)
    if (bytes.readUInt32LE(start + size * index) === PT_INTERP) return false
  return true
}

function headOf(path: string): Buffer {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(ELF_HEAD_LENGTH)
    return bytes.subarray(0, readSync(fd, bytes))
  } finally {
    closeSync(fd)
  }
}

function textOf(path: string): string | undefined {
  return orUndefined(() => readFileSync(path, 'utf8'))
}

/** A process that is looked at may end at any time. */
function orUndefined<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
