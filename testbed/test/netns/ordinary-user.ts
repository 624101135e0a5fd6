import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEFAULT_PINS } from '@xoffload/redirect-ebpf'
import type { Testbed } from '../../src/testbed.ts'

/** A user without a name and without rights on this machine. */
const UID = 64_242

const units = join(import.meta.dir, '../../../packages/cli/systemd')

/** The capabilities that the systemd unit of a role gives, such as `CAP_BPF`. */
export function unitCapabilities(role: 'gateway' | 'server'): string[] {
  const unit = readFileSync(join(units, `xoffload-${role}.service`), 'utf8')
  return /^AmbientCapabilities=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
}

/** Runs programs of a testbed as an ordinary user, as systemd would. */
export class OrdinaryUser implements Disposable {
  /** A bpffs of the user: what the systemd units mount at {@link DEFAULT_PINS}. */
  readonly pins: string
  readonly #directory: string

  /** Gives the testbed's files to the user, and makes a TAP driver's node that everybody may open: what udev does elsewhere. */
  constructor(testbed: Testbed) {
    this.#directory = testbed.directory
    this.pins = mkdtempSync(join(tmpdir(), 'xoffload-pins-'))
    run('mount', '-t', 'bpf', '-o', 'mode=0700', 'bpf', this.pins)
    run('chown', `${UID}:${UID}`, this.pins)
    run('mknod', '--mode=666', join(testbed.directory, 'tun'), 'c', '10', '200')
    run('chown', '-R', `${UID}:${UID}`, ...testbed.hosts.map(({ directory }) => directory))
  }

  /** The command that runs `command` with these capabilities and no others, now and after any execve(2). */
  with(capabilities: readonly string[], command: readonly string[]): [string, ...string[]] {
    const set = ['-all', ...capabilities.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)].join(',')
    const sets = ['--bounding-set', set, '--inh-caps', set, '--ambient-caps', set]
    const user = [
      'setpriv',
      '--reuid',
      `${UID}`,
      '--regid',
      `${UID}`,
      '--clear-groups',
      ...sets,
      '--no-new-privs',
      '--',
    ]
    return [
      'unshare',
      '--mount',
      'sh',
      '-ec',
      MOUNT,
      this.#directory,
      this.pins,
      DEFAULT_PINS,
      ...user,
      'env',
      'HOME=/',
      ...command,
    ]
  }

  /** Programs that run still keep their pins. */
  [Symbol.dispose](): void {
    run('umount', '--lazy', this.pins)
    rmdirSync(this.pins)
  }
}

/** In a mount namespace of its own, with a /run of its own: the machine's is not written to, but for the testbed's directory. */
const MOUNT = `
  mount --bind "$0/tun" /dev/net/tun
  mount --bind "$0" /mnt
  mount -t tmpfs tmpfs /run
  mkdir -p "$0" "$2"
  mount --move /mnt "$0"
  mount --bind "$1" "$2"
  shift 2
  exec "$@"`

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} failed: ${stderr}`)
}
