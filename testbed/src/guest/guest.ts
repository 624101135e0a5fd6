import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandResult } from '../command.ts'
import { enterTestbed, removeAbandonedTestbeds, removeTestbed, testbedDirectory } from '../registry.ts'
import { closeOnSignal } from '../signals.ts'
import { requireRoot } from '../tools.ts'
import { Channel } from './channel.ts'
import { GuestError, GuestKernelError } from './errors.ts'
import { encodeSetUp, frameType } from './frame.ts'
import { type GuestRunOptions, runInGuest } from './guest-command.ts'
import { type GuestKernel, guestKernel } from './kernel.ts'
import { kernelProblems } from './kernel-log.ts'
import { Machine, type MachineOptions } from './machine.ts'
import { nicModule } from './nic-module.ts'
import { guestSnapshot } from './snapshot.ts'
import { nicModuleVariable } from './virtual-nic.ts'

export interface GuestOptions extends Partial<MachineOptions> {
  /** A directory of the host that the guest may write to, at the same path. Default: one that goes with the guest. */
  readonly share?: string
  /** Milliseconds that the guest may take to end a command that it was told to kill; then it hangs. Default 20,000. */
  readonly hangTimeout?: number
}

interface GuestParts {
  /** Its entry in the registry of testbeds. */
  readonly id: string
  readonly kernel: GuestKernel
  readonly share: string
  readonly nicModule: string
  readonly hangTimeout: number | undefined
}

/**
 * A Debian kernel in QEMU that sees the host's files and runs the host's programs: for what the host's kernel lacks. It starts
 * from a snapshot, in a second or two, and then a command costs little more than its process. It changes nothing on the host
 * but files in the share. Throughput and latency in a guest say nothing about those outside: its processor is emulated.
 *
 * A signal that ends this process ends the guest first; QEMU dies with this process, and the next start removes the files.
 */
export class Guest implements AsyncDisposable {
  readonly kernel: GuestKernel
  /** A directory that host and guest can both write to, at the same path. */
  readonly share: string
  readonly #id: string
  readonly #machine: Machine
  readonly #channel: Channel
  readonly #hangTimeout: number
  readonly #nicModule: string
  readonly #forgetSignals: () => void
  readonly #hung = Promise.withResolvers<never>()
  #lastCommand = 0
  #killed: Promise<void> | undefined
  #closed: Promise<void> | undefined

  private constructor(machine: Machine, parts: GuestParts) {
    this.#id = parts.id
    this.#hangTimeout = parts.hangTimeout ?? 20_000
    this.#nicModule = parts.nicModule
    this.kernel = parts.kernel
    this.share = parts.share
    this.#machine = machine
    this.#channel = new Channel(machine)
    this.#hung.promise.catch(() => undefined)
    this.#forgetSignals = closeOnSignal(() => this.kill())
  }

  /**
   * Starts a guest; for the first time ever after building its snapshot, which takes as long as the kernel's boot. Throws
   * {@link GuestError} when set-up has not installed what it takes, or when the guest does not come up.
   */
  static async start(options: GuestOptions = {}): Promise<Guest> {
    requireRoot()
    const kernel = guestKernel()
    const hardware = { memory: options.memory ?? 768, processors: options.processors ?? 2 }
    const [snapshot, nic] = await Promise.all([guestSnapshot(kernel, hardware), nicModule(kernel)])
    await removeAbandonedTestbeds()
    const id = enterTestbed()
    let guest: Guest | undefined
    try {
      const directory = testbedDirectory(id)
      const share = options.share ?? join(directory, 'share')
      mkdirSync(share, { recursive: true })
      const files = { kernel: kernel.image, initramfs: snapshot.initramfs, snapshot: snapshot.state, directory, share }
      const parts = { id, kernel, share, nicModule: nic, hangTimeout: options.hangTimeout }
      guest = new Guest(await Machine.start(hardware, files), parts)
      await guest.#bringUp()
      return guest
    } catch (error) {
      await (guest?.kill() ?? removeTestbed(id))
      throw error
    }
  }

  async #bringUp(): Promise<void> {
    await this.#machine.continue()
    const mounted = this.#channel.expect(frameType.mounted)
    this.#channel.send(frameType.setUp, 0, encodeSetUp(this.share, this.kernel.modules))
    await mounted
  }

  /**
   * Runs a command to its end; up to 64 at once. Throws {@link CommandError} when it takes too long or, unless allowed, fails, and
   * {@link GuestError} with the end of the console when the guest ends, panics or hangs.
   */
  async run(command: readonly [string, ...string[]], options: GuestRunOptions = {}): Promise<CommandResult> {
    if (this.#killed !== undefined) throw new GuestError('The guest was closed')
    this.#lastCommand += 1
    const onHang = (): void => {
      this.#hung.reject(this.#machine.failure(`The guest hangs: it does not end "${command.join(' ')}"`))
      // Whoever awaits the command is told; here is nobody who could wait.
      this.kill().catch(() => undefined)
    }
    const env = { [nicModuleVariable]: this.#nicModule, ...options.env }
    const running = runInGuest(
      this.#channel,
      this.#lastCommand,
      command,
      { ...options, env },
      {
        timeout: this.#hangTimeout,
        onHang,
      },
    )
    return Promise.race([this.#hung.promise, running]).catch(async (error: unknown) => {
      // A caller that ends its process because of this error would leave the rest of what is being removed.
      await this.#killed
      throw error
    })
  }

  /** What the guest's kernel has complained of: warnings, oopses, stalls, leaks; each one's message, the oldest first. */
  kernelProblems(): Promise<string[]> {
    return kernelProblems(this)
  }

  /**
   * Ends the guest. Throws {@link GuestKernelError} when its kernel has complained, whatever the tests in it say. Safe to call twice.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#killed !== undefined) return this.#killed
    try {
      const problems = await this.kernelProblems()
      if (problems.length > 0) throw new GuestKernelError(problems)
    } finally {
      await this.kill()
    }
  }

  /** Ends the guest at once, in whatever state it is. Safe to call twice. */
  kill(): Promise<void> {
    this.#killed ??= this.#kill()
    return this.#killed
  }

  async #kill(): Promise<void> {
    await this.#machine.kill()
    await removeTestbed(this.#id)
    this.#forgetSignals()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
