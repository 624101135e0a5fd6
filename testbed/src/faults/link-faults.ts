import { readFileSync } from 'node:fs'
import {
  attachTc,
  BpfObject,
  createClsact,
  destroyClsact,
  detachTc,
  inNetworkNamespace,
  Rtnetlink,
  type TcDirection,
} from '@xoffload/linux'
import { TestbedError } from '../errors.ts'
import type { Host } from '../host.ts'
import { type BridgePort, namespacePath } from '../network.ts'
import { DelayLineProcess } from './delay-line-process.ts'
import {
  DIRECTIONS,
  type DirectionDevices,
  decodeCounters,
  encodeSettings,
  type LinkDirection,
  type LinkFaultCounters,
  type LinkFaultSettings,
  NAMES,
  NO_FAULTS,
} from './layout.ts'

const objectFile = new URL('../../bpf/faults.o', import.meta.url)
const PRIORITY = 1
const HANDLE = 1
/** Where on the bridge port each direction passes. */
const HOOKS: Readonly<Record<LinkDirection, TcDirection>> = { fromHost: 'ingress', toHost: 'egress' }
const BOTH: readonly LinkDirection[] = ['fromHost', 'toHost']

/**
 * Makes the link between a host and the bridge lose, duplicate, reorder and delay frames, of whatever protocol, in both directions.
 * BPF programs at the bridge's end do it, so that nothing is seen of them on the host. Frames that wait do so in a process of their
 * own; it wakes up some 100 microseconds late.
 */
export class LinkFaults implements AsyncDisposable {
  readonly #port: BridgePort
  readonly #object: BpfObject
  readonly #line: DelayLineProcess
  readonly #devices: Readonly<Record<LinkDirection, DirectionDevices>>
  readonly #settings: Record<LinkDirection, LinkFaultSettings>
  readonly #madeClsact: boolean
  #detached: Promise<void> | undefined

  private constructor(
    port: BridgePort,
    line: DelayLineProcess,
    taps: readonly [number, number],
    settings: Partial<LinkFaultSettings>,
  ) {
    this.#port = port
    this.#line = line
    this.#settings = { fromHost: NO_FAULTS, toHost: NO_FAULTS }
    using undo = new DisposableStack()
    this.#object = undo.adopt(BpfObject.load(readFileSync(objectFile), { name: 'link_faults' }), (it) => it.close())
    const ifindex = findPort(port)
    this.#devices = { fromHost: { tap: taps[0], port: ifindex }, toHost: { tap: taps[1], port: ifindex } }
    this.#madeClsact = createClsact(ifindex)
    if (this.#madeClsact) undo.defer(() => destroyClsact(ifindex))
    for (const tap of taps) createClsact(tap)
    this.#attach(taps[0], 'ingress', NAMES.returnFromHost)
    this.#attach(taps[1], 'ingress', NAMES.returnToHost)
    for (const direction of BOTH) {
      this.#write(direction, { ...NO_FAULTS, ...settings })
      this.#attach(ifindex, HOOKS[direction], NAMES[direction])
      undo.defer(() => detachTc({ ifindex, direction: HOOKS[direction], priority: PRIORITY, handle: HANDLE }))
    }
    undo.move()
  }

  /**
   * Attaches faults to a host's link; both directions have the same settings at first. Throws {@link TestbedError} when it has some
   * already or a setting is out of its range, and LinuxError when the kernel refuses the programs.
   */
  static async attach(host: Host, settings: Partial<LinkFaultSettings> = {}): Promise<LinkFaults> {
    const line = new DelayLineProcess(host.port)
    try {
      const taps = await line.taps()
      return inNetworkNamespace(
        namespacePath(host.port.namespace),
        () => new LinkFaults(host.port, line, taps, settings),
      )
    } catch (error) {
      // What went wrong first is what counts: the process may have failed for the same reason.
      await line.stop().catch(() => undefined)
      throw error
    }
  }

  /**
   * Changes settings, of one direction or of both; the others stay. A frame that waits already keeps its time, so that a shorter
   * delay lets later frames pass it.
   */
  set(settings: Partial<LinkFaultSettings>, direction?: LinkDirection): void {
    this.#line.assertRunning()
    for (const each of direction === undefined ? BOTH : [direction]) {
      this.#write(each, { ...this.#settings[each], ...settings })
    }
  }

  /** What has happened so far. Throws {@link TestbedError} when the process that delays frames has ended. */
  counters(): Readonly<Record<LinkDirection, LinkFaultCounters>> {
    this.#line.assertRunning()
    return { fromHost: this.#counters('fromHost'), toHost: this.#counters('toHost') }
  }

  /** Makes the link good again; frames that wait are let go. Safe to call twice. */
  detach(): Promise<void> {
    this.#detached ??= this.#detach()
    return this.#detached
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach()
  }

  async #detach(): Promise<void> {
    inNetworkNamespace(namespacePath(this.#port.namespace), () => {
      const ifindex = this.#devices.fromHost.port
      for (const direction of BOTH) {
        detachTc({ ifindex, direction: HOOKS[direction], priority: PRIORITY, handle: HANDLE })
      }
      if (this.#madeClsact && !hasFilters(ifindex)) destroyClsact(ifindex)
    })
    try {
      await this.#line.stop()
    } finally {
      this.#object.close()
    }
  }

  #attach(ifindex: number, direction: TcDirection, program: string): void {
    attachTc({ ifindex, direction, priority: PRIORITY, handle: HANDLE }, this.#object.program(program))
  }

  #write(direction: LinkDirection, settings: LinkFaultSettings): void {
    this.#object.map(NAMES.config).update(mapKey(direction), encodeSettings(settings, this.#devices[direction]))
    this.#settings[direction] = settings
  }

  #counters(direction: LinkDirection): LinkFaultCounters {
    const value = this.#object.map(NAMES.state).lookup(mapKey(direction))
    if (value === undefined) throw new TestbedError(`The map ${NAMES.state} has no entry for ${direction}`)
    return decodeCounters(value)
  }
}

function findPort({ namespace, device }: BridgePort): number {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(device)
  if (link === undefined) throw new TestbedError(`The bridge in ${namespace} has no port "${device}"`)
  return link.index
}

function hasFilters(ifindex: number): boolean {
  using rtnetlink = new Rtnetlink()
  return (['ingress', 'egress'] as const).some((direction) => rtnetlink.filters(ifindex, direction).length > 0)
}

function mapKey(direction: LinkDirection): Uint8Array {
  return Uint8Array.of(DIRECTIONS[direction], 0, 0, 0)
}
