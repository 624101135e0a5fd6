import { accessSync, constants, mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { errorText, RedirectorError } from '@xoffload/core'
import {
  BpfMap,
  type BpfObject,
  isBpfFileSystem,
  pinBpf,
  pinnedProgramInfo,
  programInfo,
  Rtnetlink,
} from '@xoffload/linux'
import { MAP_LAYOUTS, NAMES } from './layout.ts'

/**
 * Where the systemd units mount a bpffs for the user that they run as. Not below /sys/fs/bpf: systemd lets only root into that.
 */
export const DEFAULT_PINS = '/run/xoffload/bpf'

/** One redirector's place on a device of this network namespace. */
interface Place {
  readonly ifindex: number
  readonly priority: number
  readonly handle: number
}

/**
 * The programs and maps of one place, by name, in a bpffs: the next process opens them there, for which it needs no CAP_SYS_ADMIN. Each
 * process pins its own in a folder of its own (a generation) before it attaches them, so that at any moment what is attached is pinned.
 */
export class PinFolder {
  readonly #path: string

  private constructor(path: string) {
    this.#path = path
  }

  /**
   * The folder of a place in `directory`, or in {@link DEFAULT_PINS} when that is a bpffs which this user may write to; undefined when it
   * is not. Folders of devices that are gone are removed. Throws {@link RedirectorError} `invalid` when `directory` is not on a bpffs.
   */
  static of(place: Place, directory: string | undefined): PinFolder | undefined {
    if (directory === undefined) return isUsable(DEFAULT_PINS) ? PinFolder.of(place, DEFAULT_PINS) : undefined
    if (!isBpfFileSystem(directory)) {
      const advice = `make it one: mount -t bpf bpf ${directory}`
      throw new RedirectorError('invalid', `pins: "${directory}" is not on a bpffs; ${advice}`)
    }
    removeOfGoneDevices(directory)
    const { ifindex, priority, handle } = place
    return new PinFolder(join(directory, `${devicePrefix()}${ifindex}-priority${priority}-handle${handle}`))
  }

  /** Pins what a process is about to attach, and returns the generation. Undoes what it did when it throws. */
  pin(object: BpfObject, xdp?: BpfObject): string {
    const generation = join(this.#path, `${programInfo(object.program(NAMES.ingress)).id}`)
    try {
      // One that was left by a process which died here: its programs were never attached.
      remove(generation)
      mkdirSync(generation, { recursive: true, mode: 0o700 })
      for (const name of Object.keys(MAP_LAYOUTS)) pinBpf(object.map(name).fd, join(generation, name))
      for (const name of [NAMES.ingress, NAMES.egress]) pinBpf(object.program(name), join(generation, name))
      if (xdp === undefined) return generation
      for (const name of [NAMES.driver, NAMES.generic]) pinBpf(xdp.program(name), join(generation, name))
      return generation
    } catch (error) {
      remove(generation)
      throw asPinError(generation, error)
    }
  }

  /** The maps of the generation whose program of this name has this id, by name. The caller closes them. Undefined when there is none. */
  open(programName: string, programId: number): Map<string, BpfMap> | undefined {
    const generation = this.#generations().find((path) => pinnedProgramInfo(join(path, programName))?.id === programId)
    if (generation === undefined) return undefined
    const maps = new Map<string, BpfMap>()
    for (const name of Object.keys(MAP_LAYOUTS)) {
      const map = BpfMap.fromPin(join(generation, name))
      if (map !== undefined) maps.set(name, map)
    }
    return maps
  }

  /** Removes every generation but this one: nothing of theirs is attached any more. */
  keep(generation: string): void {
    for (const path of this.#generations()) if (path !== generation) remove(path)
  }

  /** Removes one generation. */
  remove(generation: string): void {
    remove(generation)
  }

  /** Removes everything. */
  clear(): void {
    remove(this.#path)
  }

  #generations(): string[] {
    return entries(this.#path).map((name) => join(this.#path, name))
  }
}

/** Another network namespace may have a device of the same index. */
function devicePrefix(): string {
  const [namespace] = /\d+/.exec(readlinkSync('/proc/thread-self/ns/net')) ?? []
  return `net${namespace}-device`
}

function isUsable(directory: string): boolean {
  if (!isBpfFileSystem(directory)) return false
  try {
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** A device that went away while nobody had it took its filters along, but not what was pinned. */
function removeOfGoneDevices(directory: string): void {
  using rtnetlink = new Rtnetlink()
  const prefix = devicePrefix()
  for (const name of entries(directory)) {
    if (!name.startsWith(prefix)) continue
    const ifindex = Number.parseInt(name.slice(prefix.length), 10)
    if (rtnetlink.link(ifindex) === undefined) remove(join(directory, name))
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw asPinError(directory, error)
  }
}

function remove(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch (error) {
    throw asPinError(path, error)
  }
}

/** Another user's folder is the likely reason: the process ran as root before. */
function asPinError(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code !== 'EACCES' && code !== 'EPERM') return error
  const advice = 'run it as the user that owns the folder, or remove the folder when nothing of it is attached'
  return new RedirectorError('permission', `cannot use "${path}": ${errorText(error)}; ${advice}`, { cause: error })
}
