import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TestbedError, tool } from '@xoffload/testbed'
import { clientOf, SERVICE, TARGET } from './rule-times.ts'

/** Not one of the redirector's own. */
const PRIORITY = 10
/** tc complains of it at once: so one knows that it has begun. */
const REFUSED = 'qdisc show dev no-such-device'

/** The filters of the flower redirectors, put and deleted by `tc -batch` (tc(8)) on a device with a clsact qdisc. */
export class TcBatch {
  readonly #device: string
  readonly #flags: string
  readonly #mac: string
  readonly #file = join(mkdtempSync(join(tmpdir(), 'tc-batch-')), 'batch')

  private constructor(device: string, flags: string, mac: string) {
    this.#device = device
    this.#flags = flags
    this.#mac = mac
  }

  /** `flags`: `skip_hw` or `skip_sw`. Throws {@link TestbedError} without such a device. */
  static async create(device: string, flags: string): Promise<TcBatch> {
    const mac = (await Bun.file(`/sys/class/net/${device}/address`).text()).trim()
    return new TcBatch(device, flags, mac)
  }

  /** Rules a second, without the time that it takes to start the program. */
  async measureRate(flows: number, round: number): Promise<{ readonly insert: number; readonly remove: number }> {
    const indices = Array.from({ length: flows }, (_, index) => index)
    const rate = async (line: (index: number) => string) => {
      const lines = indices.map(line)
      return (flows * 1e9) / (await this.#run(lines))
    }
    const insert = await rate((index) => this.#insertion(index, round))
    const remove = await rate((index) => `filter delete ${this.#where(index)} flower`)
    return { insert, remove }
  }

  #where(index: number): string {
    return `dev ${this.#device} ingress protocol ip prio ${PRIORITY} handle ${index + 1}`
  }

  #insertion(index: number, round: number): string {
    const { address, port } = clientOf(index, round)
    return [
      `filter add ${this.#where(index)} flower ${this.#flags} dst_mac ${this.#mac} ip_proto tcp`,
      `src_ip ${address} dst_ip ${SERVICE.address} src_port ${port} dst_port ${SERVICE.port}`,
      'tcp_flags 0x0/0x7 ip_flags nofrag',
      `action pedit ex munge eth dst set ${TARGET.mac} munge eth src set ${this.#mac} pipe`,
      `action mirred egress redirect dev ${this.#device}`,
    ].join(' ')
  }

  /** How long tc works at the lines, nanoseconds: from its complaint of the first line until its end, so that its start is left out. */
  async #run(lines: readonly string[]): Promise<number> {
    writeFileSync(this.#file, `${[REFUSED, ...lines].join('\n')}\n`)
    const tc = Bun.spawn([tool('tc'), '-force', '-batch', this.#file], { stdout: 'ignore', stderr: 'pipe' })
    const decoder = new TextDecoder()
    let text = ''
    let start = Number.NaN
    for await (const chunk of tc.stderr) {
      if (text === '') start = Bun.nanoseconds()
      text += decoder.decode(chunk, { stream: true })
    }
    await tc.exited
    const elapsed = Bun.nanoseconds() - start
    const failures = text.match(/^Command failed/gm)?.length
    if (failures !== 1) throw new TestbedError(`tc -batch failed: ${text.slice(0, 500)}`)
    return elapsed
  }
}
