import { readFileSync } from 'node:fs'
import { FlowKey } from '@xoffload/core'
import { attachXdp, BpfObject, closeFd, detachXdp, openBpfProgram, queryXdp, Rtnetlink, testRun } from '@xoffload/linux'
import { TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import { median, printFigure, Testbed } from '@xoffload/testbed'
import type { BenchOptions } from './main.ts'
import { pin, receiveOn } from './napi-thread.ts'
import { type LinkEnd, makePacketLink, type PacketLink } from './packet-link.ts'
import { testFrame } from './test-frame.ts'

const ROUNDS = 5
const FLOWS = [1, 1000, 1_000_000]
/** Runs of a program in a round. */
const RUNS = 500_000
/** Frames through the veth pair in a round. */
const FRAMES = 1_000_000
const CAPACITY = 1 << 20
const SERVICE = { address: '198.51.100.1', port: 443 }
/** How testbed/bpf/xdp.c numbers flows. */
const FIRST_PORT = 1024
const PORTS = 16_384

/** `struct __sk_buff` and `struct xdp_md` (include/uapi/linux/bpf.h): where a packet has come from. */
const SK_BUFF = { length: 192, ifindex: 40 } as const
const XDP_MD = { length: 24, dataEnd: 4, ifindex: 12 } as const

type Case = 'tc' | 'xdp'

/**
 * What a steered packet costs: the programs alone (BPF_PROG_TEST_RUN), beside programs that do nothing; and how many packets a second pass
 * a veth pair, with all that the kernel does for a packet, beside a program that sends every frame straight back. A packet of every flow
 * in turn, with 1 to 1,000,000 flows. With one processor for it all, what the generator takes for itself (`generator`, whose frames are
 * dropped at once) is in `packets_per_s`, and is left out of `link`, the time that a packet takes from one end of the pair back to it.
 * With two, the generator has one for itself, as a generator on another host has, and sends as fast as it can; what the other one does
 * not take is dropped. The devices do GRO, as NICs do. Needs root.
 */
export async function run({ json }: BenchOptions): Promise<void> {
  await using testbed = await Testbed.create({ hosts: ['gateway', 'generator'] })
  const programs = BpfObject.load(readFileSync(new URL('../../testbed/bpf/xdp.o', import.meta.url)))
  try {
    const link = await makePacketLink(testbed)
    const bench = new PacketBench(link, programs, json)
    bench.measureEmpty()
    bench.measureGenerator()
    bench.measureReflection()
    for (const name of ['tc', 'xdp'] as const) await bench.measureRedirector(name)
    await separate(testbed, link)
    bench.processors = 2
    bench.measureReflection()
    for (const name of ['tc', 'xdp'] as const) await bench.measureRedirector(name)
  } finally {
    programs.close()
  }
}

class PacketBench {
  readonly #link: PacketLink
  readonly #programs: BpfObject
  readonly #json: boolean
  readonly #frame: Uint8Array
  /** How many share the work: see {@link separate}. */
  processors: 1 | 2 = 1
  /** Nanoseconds a frame. */
  #generator = 0
  /** The figures of the tc redirector, to compare with. */
  readonly #ofTc = new Map<string, number>()

  constructor(link: PacketLink, programs: BpfObject, json: boolean) {
    this.#link = link
    this.#programs = programs
    this.#json = json
    // What comes back to the generator goes out again: it must look as it did. So all rules steer to the redirector's own device.
    this.#frame = testFrame(flowNumber(0), link.outer.mac, link.inner.mac)
  }

  /** Programs that do nothing, behind the one that picks the flow. */
  measureEmpty(): void {
    for (const flows of FLOWS) {
      this.#print('empty-tc', 'packet', 'ns', flows, this.#programRounds('tc', this.#programs.program('accept'), flows))
      this.#print('empty-xdp', 'packet', 'ns', flows, this.#programRounds('xdp', this.#programs.program('pass'), flows))
    }
  }

  measureGenerator(): void {
    this.#vary('xdp', this.#programs.program('drop'), 1)
    const times = rounds(() => this.#send() / FRAMES)
    this.#generator = median(times)
    const rates = times.map((time) => 1000 / time)
    this.#print('generator', 'packets_per_s', 'Mpps', 1, rates)
  }

  /** The most that the pair and the generator can do. */
  measureReflection(): void {
    const { inner } = this.#link
    inner.inside(() => attachXdp(inner.ifindex, this.#programs.program('transmit'), 'driver'))
    this.#measureLink('reflect-xdp', 1)
    inner.inside(() => detachXdp(inner.ifindex, 'driver'))
  }

  async measureRedirector(name: Case): Promise<void> {
    const { inner } = this.#link
    const options = { device: inner.name, capacity: CAPACITY }
    const redirector = name === 'tc' ? new TcRedirector(options) : new XdpRedirector({ ...options, mode: 'driver' })
    await inner.inside(() => redirector.open())
    const program = inner.inside(() => openBpfProgram(attachedProgram(inner, name)))
    try {
      let filled = 0
      for (const flows of FLOWS) {
        for (; filled < flows; filled++) await redirector.put(this.#ruleOf(filled))
        if (this.processors === 1) {
          this.#print(name, 'packet', 'ns', flows, this.#programRounds(name, program, flows))
        }
        const steered = async () => (await redirector.counters(flowNumber(0)))?.packets ?? 0n
        const before = await steered()
        this.#measureLink(name, flows)
        if (this.processors === 1 && (await steered()) === before) throw new Error('no packet was steered')
      }
    } finally {
      closeFd(program)
      await inner.inside(() => redirector.close())
    }
  }

  #ruleOf(number: number) {
    const target = { mode: 'l2', mac: this.#link.inner.mac } as const
    return { action: 'steer', flow: flowNumber(number), target } as const
  }

  /** Nanoseconds a packet. */
  #programRounds(kind: Case, program: number, flows: number): number[] {
    this.#vary(kind, program, flows)
    const { inner } = this.#link
    const context = kind === 'tc' ? skBuff(inner.ifindex) : undefined
    const first = this.#programs.program(kind === 'tc' ? 'vary_tc' : 'vary_xdp')
    const task = () => testRun(first, { frame: this.#frame, repeat: RUNS, ...(context && { context }) }).nanoseconds
    return rounds(() => inner.inside(task))
  }

  /** Packets come from the other end and go back there, where they are discarded. */
  #measureLink(name: string, flows: number): void {
    const { inner, outer } = this.#link
    this.#vary('xdp', this.#programs.program('transmit'), flows)
    outer.inside(() => attachXdp(outer.ifindex, this.#programs.program('drop'), 'driver'))
    try {
      const samples = rounds(() => this.#sendThrough(inner))
      this.#print(
        name,
        'packets_per_s',
        'Mpps',
        flows,
        samples.map(({ elapsed, returned }) => (returned * 1000) / elapsed),
      )
      if (this.processors === 2) return
      const times = samples.map(({ elapsed, returned }) => (elapsed - FRAMES * this.#generator) / returned)
      this.#print(name, 'link', 'ns', flows, times)
    } finally {
      outer.inside(() => detachXdp(outer.ifindex, 'driver'))
    }
  }

  /** Nanoseconds that it took to send frames, and how many of them came back: under pressure a veth device drops some. */
  #sendThrough(inner: LinkEnd): { readonly elapsed: number; readonly returned: number } {
    const transmitted = () => inner.inside(() => transmittedBy(inner))
    const before = transmitted()
    const elapsed = this.#send()
    return { elapsed, returned: transmitted() - before }
  }

  /** Nanoseconds that it takes to send frames from the other end. */
  #send(): number {
    const { outer } = this.#link
    const context = xdpMd(this.#frame.length, outer.ifindex)
    const start = Bun.nanoseconds()
    outer.inside(() =>
      testRun(this.#programs.program('vary_xdp'), { frame: this.#frame, repeat: FRAMES, context, live: true }),
    )
    return Bun.nanoseconds() - start
  }

  #vary(kind: Case, next: number, flows: number): void {
    const key = new Uint8Array(4)
    this.#programs.map(`vary_next_${kind}`).update(key, new Uint8Array(Uint32Array.of(next).buffer))
    this.#programs.map('vary_turns').update(key, new Uint8Array(Uint32Array.of(flows, 0).buffer))
  }

  #print(name: string, metric: string, unit: string, flows: number, samples: number[]): void {
    const value = median(samples)
    const { processors } = this
    const key = `${metric} ${flows} ${processors}`
    if (name === 'tc') this.#ofTc.set(key, value)
    const tc = name === 'xdp' ? this.#ofTc.get(key) : undefined
    const compared = tc === undefined ? {} : { ratio: value / tc, to: 'tc' }
    printFigure(
      { bench: 'packets', case: name, flows, processors, metric, unit, value, n: samples.length, ...compared },
      this.#json,
    )
  }
}

/** One processor for what sends, which is this process, and another for what receives, at both ends. */
async function separate(testbed: Testbed, { inner, outer }: PacketLink): Promise<void> {
  const [gateway, generator] = testbed.hosts
  if (gateway === undefined || generator === undefined) throw new Error('a link needs two hosts')
  await pin(process.pid, 0, generator)
  await receiveOn(1, gateway, inner.name)
  await receiveOn(1, generator, outer.name)
}

/** The samples of all rounds; the first one, which is not counted, warms up. */
function rounds<Sample>(sample: () => Sample): Sample[] {
  sample()
  return Array.from({ length: ROUNDS }, sample)
}

function flowNumber(number: number): FlowKey {
  const host = Math.floor(number / PORTS)
  const address = `10.${(host >> 16) & 0xff}.${(host >> 8) & 0xff}.${host & 0xff}`
  return FlowKey.of({ address, port: FIRST_PORT + (number % PORTS) }, SERVICE)
}

function attachedProgram({ ifindex, name }: LinkEnd, kind: Case): number {
  using rtnetlink = new Rtnetlink()
  const filters = rtnetlink.filters(ifindex, 'ingress')
  const id = kind === 'xdp' ? queryXdp(ifindex)?.programId : filters.find(({ programId }) => programId)?.programId
  if (id === undefined) throw new Error(`no program is attached to ${name}`)
  return id
}

function transmittedBy({ ifindex, name }: LinkEnd): number {
  using rtnetlink = new Rtnetlink()
  const statistics = rtnetlink.linkStatistics(ifindex)
  if (statistics === undefined) throw new Error(`${name} is gone`)
  return statistics.transmitted
}

function skBuff(ifindex: number): Uint8Array {
  const bytes = new Uint8Array(SK_BUFF.length)
  new DataView(bytes.buffer).setUint32(SK_BUFF.ifindex, ifindex, true)
  return bytes
}

function xdpMd(length: number, ifindex: number): Uint8Array {
  const bytes = new Uint8Array(XDP_MD.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(XDP_MD.dataEnd, length, true)
  view.setUint32(XDP_MD.ifindex, ifindex, true)
  return bytes
}
