import { constants } from 'node:os'
import { MacAddress } from '@xoffload/core'
import { decodeFlower, type ErrnoName, LinuxError, type NetlinkMessage, netlinkMessages } from '@xoffload/linux'
import type { DeviceDescription, Exchange, FlowerConnection, FlowerKernel } from '../src/index.ts'
import { acknowledgement, doneMessage, type FakeTraffic, filterMessage } from './fake-messages.ts'

const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const RTM_NEWTFILTER = 44
const RTM_DELTFILTER = 45
const RTM_GETTFILTER = 46
const NLM_F_EXCL = 0x200
const NLM_F_CREATE = 0x400
/** How many filters the fake puts into a datagram of a dump. */
const FILTERS_IN_DATAGRAM = 7

/** A filter in the fake, as the request that made it said it. */
export interface FakeFilter {
  readonly body: Uint8Array
  traffic: FakeTraffic
}

/** What the kernel says to a request instead of carrying it out. */
export interface FakeRefusal {
  readonly errno: ErrnoName
  readonly text?: string
}

/**
 * A kernel that speaks netlink about one device: keeps filters as net/sched does, and answers in bytes. What can go wrong is turned
 * here.
 */
export class FakeKernel implements FlowerKernel {
  readonly devices = new Map<string, DeviceDescription>()
  /** By hook, chain, priority and handle. */
  readonly filters = new Map<string, FakeFilter>()
  /** How many messages each exchange had. */
  readonly exchanges: number[] = []
  clsact = false
  /** Asked for each request. */
  refuse: (message: NetlinkMessage) => FakeRefusal | undefined = () => undefined
  /** Asked for each answer: one that is lost was carried out, and overflows the receive buffer. */
  lose: (message: NetlinkMessage) => boolean = () => false
  /** The answers of an exchange, in another order if they are to be. */
  reorder: (answers: Uint8Array[]) => Uint8Array[] = (answers) => answers
  /** What an exchange waits for before the kernel begins with it. */
  before: () => Promise<void> = async () => undefined
  /** Asked for each exchange: an error says that the kernel got none of the messages. */
  failSend: () => LinuxError | undefined = () => undefined
  clock = 1_000_000_000_000n
  readonly #claims = new Set<string>()

  constructor(device: Partial<DeviceDescription> = {}) {
    this.addDevice({ name: 'nic0', ifindex: 7, ...device })
  }

  addDevice(device: Partial<DeviceDescription> & { readonly name: string; readonly ifindex: number }): void {
    this.devices.set(device.name, {
      mac: MacAddress.parse('02:00:00:00:00:01'),
      up: true,
      driver: undefined,
      features: { active: new Set(['hw-tc-offload']), changeable: new Set(['hw-tc-offload']) },
      eswitchMode: undefined,
      steeringMode: undefined,
      portName: undefined,
      ...device,
    })
  }

  describe(device: string): DeviceDescription | undefined {
    return this.devices.get(device)
  }

  find(device: string) {
    return this.devices.get(device)
  }

  now = () => this.clock

  connect(name: string): FlowerConnection | undefined {
    if (this.#claims.has(name)) return undefined
    this.#claims.add(name)
    let open = true
    const requireOpen = () => {
      if (!open) throw new LinuxError('fake', 'EBADF')
    }
    return {
      exchange: async (messages) => {
        requireOpen()
        return this.#exchange(messages)
      },
      dump: (message) => this.#dump(message, requireOpen),
      sourceOf: sourceFor,
      close: async () => {
        open = false
        this.#claims.delete(name)
      },
    }
  }

  /** What the filters are, without the pin. */
  get rules(): FakeFilter[] {
    return [...this.filters].filter(([key]) => !key.endsWith(' 1')).map(([, filter]) => filter)
  }

  async #exchange(messages: Uint8Array): Promise<Exchange> {
    await this.before()
    const failure = this.failSend()
    if (failure !== undefined) throw failure
    const requests = [...netlinkMessages(messages)]
    this.exchanges.push(requests.length)
    const answers: Uint8Array[] = []
    let overflow = false
    for (const request of requests) {
      const replies = this.#answer(request)
      if (this.lose(request)) overflow = true
      else answers.push(...replies)
    }
    return { datagrams: this.reorder(answers), overflow }
  }

  #answer(request: NetlinkMessage): Uint8Array[] {
    const refusal = this.refuse(request) ?? this.#carryOut(request)
    if (refusal !== undefined && 'errno' in refusal) {
      const errno = constants.errno[refusal.errno as keyof typeof constants.errno]
      return [acknowledgement(request.sequence, errno, refusal.text)]
    }
    return [...(refusal ?? []), acknowledgement(request.sequence, 0)]
  }

  #carryOut(request: NetlinkMessage): FakeRefusal | Uint8Array[] | undefined {
    if (request.type === RTM_NEWQDISC) return this.#addClsact()
    if (!this.clsact) return { errno: 'EINVAL', text: "Parent Qdisc doesn't exists" }
    if (request.type === RTM_DELQDISC) {
      this.clsact = false
      this.filters.clear()
      return undefined
    }
    const key = keyOf(request.body)
    const known = this.filters.get(key)
    switch (request.type) {
      case RTM_NEWTFILTER:
        return this.#put(key, request, known)
      case RTM_DELTFILTER:
        return this.filters.delete(key) ? undefined : { errno: 'ENOENT', text: 'Specified filter handle not found' }
      case RTM_GETTFILTER:
        return known === undefined ? { errno: 'ENOENT' } : [filterMessage(request.sequence, known.body, known.traffic)]
      default:
        return { errno: 'EOPNOTSUPP' }
    }
  }

  #addClsact(): FakeRefusal | undefined {
    if (this.clsact) return { errno: 'EEXIST', text: 'Exclusivity flag on, cannot modify' }
    this.clsact = true
    return undefined
  }

  #put(key: string, { flags, body }: NetlinkMessage, known: FakeFilter | undefined): FakeRefusal | undefined {
    if (known !== undefined && (flags & NLM_F_EXCL) !== 0) return { errno: 'EEXIST', text: 'Filter already exists' }
    if (known === undefined && (flags & NLM_F_CREATE) === 0) return { errno: 'ENOENT' }
    this.filters.set(key, { body: body.slice(), traffic: { packets: 0n, bytes: 0n, idleTicks: 0n } })
    return undefined
  }

  async *#dump(message: Uint8Array, requireOpen: () => void): AsyncGenerator<Uint8Array, void, undefined> {
    requireOpen()
    const [request] = [...netlinkMessages(message)] as [NetlinkMessage]
    const asked = decodeFlower(request.body).place
    const found = [...this.filters.values()].filter(({ body }) => {
      const place = decodeFlower(body).place
      return place.direction === asked.direction && (asked.priority === 0 || place.priority === asked.priority)
    })
    for (let first = 0; first < found.length; first += FILTERS_IN_DATAGRAM) {
      const some = found.slice(first, first + FILTERS_IN_DATAGRAM)
      yield concatenated(some.map(({ body, traffic }) => filterMessage(request.sequence, body, traffic)))
      requireOpen()
    }
    yield doneMessage(request.sequence)
  }
}

function keyOf(body: Uint8Array): string {
  const { direction, chain, priority, handle } = decodeFlower(body).place
  return `${direction} ${chain} ${priority} ${handle}`
}

function sourceFor(remote: string): string | undefined {
  if (!/^[0-9a-f.:]+$/.test(remote)) throw new LinuxError('route', 'EINVAL', remote)
  if (remote.startsWith('240.')) return undefined
  return remote.includes(':') ? '2001:db8:ffff::1' : '203.0.113.254'
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}
