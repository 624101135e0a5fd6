import type { MacAddress } from '@xoffload/core'
import type { HostAddresses, ServiceAddress } from './address-plan.ts'
import type { CommandResult } from './command.ts'
import { CommandError, TestbedError } from './errors.ts'
import { HostProcess } from './host-process.ts'
import { type BridgePort, hostDevice, insideNamespace, namespacePath } from './network.ts'
import { namespaceInode } from './proc.ts'
import { tool } from './tools.ts'

export interface SpawnOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** What the program reads from its stdin. Default: nothing. */
  readonly input?: string
}

export interface RunOptions extends SpawnOptions {
  /** Milliseconds until the command is killed. Default 10,000. */
  readonly timeout?: number
  /** Return instead of throwing when the exit code is not 0. */
  readonly allowFailure?: boolean
}

/** One host of a testbed: a network namespace with a device on the bridge. */
export class Host {
  readonly name: string
  /** The network namespace's name, as `ip -n` takes it. */
  readonly namespace: string
  /** The namespace's path, as `setns` and `nsenter --net=` take it. */
  readonly namespacePath: string
  /** The name of its Ethernet device. */
  readonly device = hostDevice
  readonly mac: MacAddress
  /** In a /24. */
  readonly ipv4: string
  /** In a /64. */
  readonly ipv6: string
  /** A directory for this host's files. It goes with the testbed. */
  readonly directory: string
  /** The other end of its link. */
  readonly port: BridgePort
  readonly #processes: HostProcess[] = []
  readonly #service: ServiceAddress | undefined

  /** For {@link Testbed.create}. */
  constructor(
    addresses: HostAddresses,
    namespace: string,
    directory: string,
    port: BridgePort,
    service: ServiceAddress | undefined,
  ) {
    this.name = addresses.name
    this.mac = addresses.mac
    this.ipv4 = addresses.ipv4
    this.ipv6 = addresses.ipv6
    this.namespace = namespace
    this.namespacePath = namespacePath(namespace)
    this.directory = directory
    this.port = port
    this.#service = service
  }

  /** The programs that were started with {@link spawn}, ended ones too, the oldest first. */
  get processes(): readonly HostProcess[] {
    return this.#processes
  }

  /** Starts a program on this host. It is killed when the testbed closes, or when this process dies. */
  spawn(command: readonly [string, ...string[]], options: SpawnOptions = {}): HostProcess {
    const started = this.#start(command, options)
    this.#processes.push(started)
    return started
  }

  #start(command: readonly [string, ...string[]], options: SpawnOptions): HostProcess {
    const inode = namespaceInode(this.namespacePath)
    if (inode === undefined) throw new TestbedError(`Host ${this.name} is gone: its testbed was closed`)
    // The signal reaches the program itself only; what it forked is found through the namespace, by the next start.
    const orphanless = [tool('setpriv'), '--pdeathsig', 'KILL', '--', ...command]
    const child = Bun.spawn(insideNamespace(this.namespace, orphanless), {
      detached: true,
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdin: options.input === undefined ? 'ignore' : new Blob([options.input]),
      stdout: 'pipe',
      stderr: 'pipe',
    })
    return new HostProcess(command, child, inode)
  }

  /**
   * Runs a command to its end. Its output is kept up to the last 64 Ki characters of each stream. Throws {@link CommandError}
   * when it takes too long or, unless allowed, fails.
   */
  async run(command: readonly [string, ...string[]], options: RunOptions = {}): Promise<CommandResult> {
    const started = this.#start(command, options)
    const timeout = options.timeout ?? 10_000
    let late = false
    const timer = setTimeout(() => {
      late = true
      started.signal('SIGKILL')
    }, timeout)
    const exitCode = await started.exited
    clearTimeout(timer)
    if (late) throw new CommandError(command, `took longer than ${timeout} ms`, started.stderr.text)
    if (exitCode !== 0 && options.allowFailure !== true) throw started.failure(started.exitReason)
    return { stdout: started.stdout.text, stderr: started.stderr.text, exitCode }
  }

  /** CPU seconds of all programs that were started with {@link spawn}. See {@link HostProcess.cpuSeconds}. */
  cpuSeconds(): number {
    return this.#processes.reduce((sum, each) => sum + each.cpuSeconds(), 0)
  }

  /** Runs lines of `ip -batch` on this host (man 8 ip). */
  async ip(...lines: readonly string[]): Promise<void> {
    await this.run([tool('ip'), '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }

  /**
   * Puts the service address on loopback and keeps silent about it on the segment, as a server agent does: for tests that have
   * no agent. IPv6 needs no setting: the kernel answers neighbour solicitations only for addresses of the device itself.
   */
  async addServiceAddress(): Promise<void> {
    if (this.#service === undefined) throw new TestbedError('The testbed was made without a service address')
    const settings = { arp_ignore: 1, arp_announce: 2 }
    const script = Object.entries(settings)
      .flatMap(([key, value]) =>
        ['all', this.device].map((where) => `echo ${value} >/proc/sys/net/ipv4/conf/${where}/${key}`),
      )
      .join('\n')
    await this.run(['/bin/sh', '-e'], { input: `${script}\n` })
    await this.ip(`addr add ${this.#service.ipv4}/32 dev lo`, `addr add ${this.#service.ipv6}/128 dev lo nodad`)
  }
}
