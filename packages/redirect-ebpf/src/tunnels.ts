import { RedirectorError } from '@xoffload/core'
import { type BpfMap, LinuxError, Routes, Rtnetlink } from '@xoffload/linux'
import { decodeTunnel, encodeTunnel, hasPath, type TunnelPath, type TunnelTarget } from './tunnel-layout.ts'

/** How often routes are looked up again while there are tunnels. */
const REFRESH_MILLISECONDS = 2000

interface Tunnel {
  readonly number: number
  readonly target: TunnelTarget
  /** What the map has. */
  value: Uint8Array
}

/**
 * The tunnels that rules lead through, by number: a target has one, however many flows it gets. The programs know neither routes nor the
 * host's addresses, so this keeps device, source address and MTU of every tunnel up to date; a process that dies leaves them as
 * they are. It looks in the network namespace in which it was made.
 */
export class Tunnels {
  readonly #map: BpfMap
  readonly #used: () => Set<number>
  readonly #routes = new Routes()
  readonly #rtnetlink = new Rtnetlink()
  readonly #byNumber = new Map<number, Tunnel>()
  readonly #byTarget = new Map<string, Tunnel>()
  readonly #key = new Uint8Array(4)
  #timer: ReturnType<typeof setInterval> | undefined

  /** `used` answers the numbers that rules have: asked when the map is full. Adopts what is in the map. */
  constructor(map: BpfMap, used: () => Set<number>) {
    this.#map = map
    this.#used = used
    for (const { count, keys, values } of map.batches()) {
      for (let index = 0; index < count; index++) this.#adopt(keys, values, index)
    }
    this.refresh()
  }

  /** The number of the target's tunnel. Throws {@link RedirectorError}: `invalid` for no target, `full` when there are too many. */
  numberOf(target: TunnelTarget): number {
    const name = nameOf(target)
    const known = this.#byTarget.get(name)
    if (known !== undefined) {
      if (!hasPath(known.value)) this.#refresh(known)
      return known.number
    }
    const value = encodeTunnel(target, this.#path(target))
    if (this.#byNumber.size >= this.#map.info.maxEntries) this.#forgetUnused()
    const tunnel = { number: this.#freeNumber(), target, value }
    this.#write(tunnel)
    this.#keep(name, tunnel)
    return tunnel.number
  }

  /** Undefined when there is none with this number. */
  target(number: number): TunnelTarget | undefined {
    return this.#byNumber.get(number)?.target
  }

  /** Looks up all routes again. */
  refresh(): void {
    for (const tunnel of this.#byNumber.values()) this.#refresh(tunnel)
  }

  /** The map stays as it is. */
  close(): void {
    clearInterval(this.#timer)
    this.#routes.close()
    this.#rtnetlink.close()
  }

  #adopt(keys: Uint8Array, values: Uint8Array, index: number): void {
    const { keySize, valueSize } = this.#map.info
    const number = new DataView(keys.buffer, keys.byteOffset).getUint32(index * keySize, true)
    const value = values.slice(index * valueSize, (index + 1) * valueSize)
    const target = decodeTunnel(value)
    if (target !== undefined) this.#keep(nameOf(target), { number, target, value })
  }

  #keep(name: string, tunnel: Tunnel): void {
    this.#byNumber.set(tunnel.number, tunnel)
    this.#byTarget.set(name, tunnel)
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => this.#tick(), REFRESH_MILLISECONDS)
    this.#timer.unref()
  }

  #refresh(tunnel: Tunnel): void {
    const value = encodeTunnel(tunnel.target, this.#path(tunnel.target))
    if (Buffer.compare(value, tunnel.value) === 0) return
    tunnel.value = value
    this.#write(tunnel)
  }

  #tick(): void {
    try {
      this.refresh()
    } catch (error) {
      // The kernel is short of memory, say: what was right two seconds ago stays, and the next look may succeed.
      if (!(error instanceof LinuxError)) throw error
    }
  }

  #freeNumber(): number {
    let number = 1
    while (this.#byNumber.has(number)) number += 1
    return number
  }

  #forgetUnused(): void {
    const used = this.#used()
    for (const { number, target } of this.#byNumber.values()) {
      if (used.has(number)) continue
      this.#map.delete(this.#keyOf(number))
      this.#byNumber.delete(number)
      this.#byTarget.delete(nameOf(target))
    }
    const { maxEntries } = this.#map.info
    if (this.#byNumber.size < maxEntries) return
    throw new RedirectorError('full', `rules lead through ${maxEntries} tunnels already: no other target has room`)
  }

  /** Undefined when there is no way, now: the rule is taken all the same, and its packets are dropped and counted until there is. */
  #path({ remote }: TunnelTarget): TunnelPath | undefined {
    const route = this.#routes.find(remote)
    if (route?.source === undefined) return undefined
    const link = this.#rtnetlink.link(route.ifindex)
    if (link === undefined) return undefined
    return { ifindex: route.ifindex, source: route.source, mtu: Math.min(route.mtu ?? link.mtu, link.mtu) }
  }

  #write({ number, value }: Tunnel): void {
    this.#map.update(this.#keyOf(number), value)
  }

  #keyOf(number: number): Uint8Array {
    new DataView(this.#key.buffer).setUint32(0, number, true)
    return this.#key
  }
}

function nameOf(target: TunnelTarget): string {
  if (target.mode === 'ipip') return `ipip ${target.remote}`
  return `vxlan ${target.remote} ${target.identifier} ${target.port} ${target.mac}`
}
