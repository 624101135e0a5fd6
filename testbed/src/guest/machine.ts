import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import { exitReason } from '../command.ts'
import { Output } from '../output.ts'
import { tool } from '../tools.ts'
import { GuestError } from './errors.ts'

/** How long QEMU may take to start, to answer, and to end after it was killed, in milliseconds: busy machines are slow. */
export const machineTimeout = 60_000

/** Milliseconds between two questions to QEMU. */
const pollInterval = 5

/** How much of the console is in an error, in characters. */
const consoleTail = 3_000

/** The hardware of a guest. A snapshot can be restored only on the same. */
export interface MachineOptions {
  /** MiB. Bun needs 256. */
  readonly memory: number
  readonly processors: number
}

export interface MachineFiles {
  readonly kernel: string
  readonly initramfs: string
  /** What the machine continues from, instead of booting. */
  readonly snapshot?: string
  /** Where the sockets are made. */
  readonly directory: string
  /** The directory that the guest may write to. */
  readonly share: string
}

/**
 * What QEMU is started with, but for the files. An emulated processor: the guest must run where there is no KVM. `la57=off` and
 * `hpet=off`: without them the 6.1 kernel does not come up on it.
 */
export function machineArguments({ memory, processors }: MachineOptions): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off', '-M', 'q35,hpet=off'],
    ...['-m', `${memory}`, '-smp', `${processors}`],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,nr=1,chardev=commands'],
    ...['-append', kernelArguments.join(' ')],
  ]
}

/** An oops is a panic, and a panic ends the machine: nothing waits for a kernel that is broken. */
const kernelArguments = [
  ...['console=ttyS0', 'quiet', 'panic=-1', 'oops=panic', 'audit=0', 'apparmor=0', 'mitigations=off'],
  ...['random.trust_cpu=on', 'nokaslr', 'cryptomgr.notests', 'tsc=reliable'],
]

/** A running QEMU: its process, its console, its command port, and its monitor. */
export class Machine {
  readonly console: Output
  /** The port that `init/` talks on. */
  readonly port: Socket
  /** Resolves when QEMU has ended, in words how. */
  readonly ended: Promise<string>
  readonly #child: Subprocess<'ignore', 'pipe', 'pipe'>
  readonly #messages: Output
  readonly #monitor: Monitor

  private constructor(child: Subprocess<'ignore', 'pipe', 'pipe'>, console: Output, messages: Output, ends: Ends) {
    this.#child = child
    this.console = console
    this.#messages = messages
    this.port = ends.port
    this.#monitor = new Monitor(ends.monitor)
    this.ended = child.exited.then(() => exitReason(child))
  }

  /** Starts QEMU. Throws {@link GuestError} with what it says when it does not. */
  static async start(options: MachineOptions, files: MachineFiles): Promise<Machine> {
    const paths = { commands: join(files.directory, 'commands'), monitor: join(files.directory, 'monitor') }
    const [port, monitor] = await Promise.all([listen(paths.commands), listen(paths.monitor)])
    const child = Bun.spawn([tool('setpriv'), '--pdeathsig', 'KILL', ...commandLine(options, files, paths)], {
      // Ctrl-C at a terminal goes to all of a group; what the guest does then is this process's business.
      detached: true,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const console = new Output(child.stdout)
    const messages = new Output(child.stderr)
    const failure = child.exited.then(async () => {
      await messages.ended
      throw new GuestError(`QEMU ${exitReason(child)}: ${messages.text.trim()}`, console.text.slice(-consoleTail))
    })
    try {
      const connected = Promise.all([port.connection, monitor.connection])
      const ends = await limited(Promise.race([connected, failure]), 'QEMU does not connect to its sockets')
      return new Machine(child, console, messages, { port: ends[0], monitor: ends[1] })
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    } finally {
      port.server.close()
      monitor.server.close()
      failure.catch(() => undefined)
    }
  }

  /** An error about this machine, with the end of its console and what QEMU said. */
  failure(reason: string): GuestError {
    const said = this.#messages.text.trim()
    return new GuestError(said === '' ? reason : `${reason} (QEMU: ${said})`, this.console.text.slice(-consoleTail))
  }

  /** Lets a restored machine run, once its state is there. */
  async continue(): Promise<void> {
    await this.#poll('query-status', (status) => status !== 'inmigrate')
    await this.#command('cont')
  }

  /** Stops the machine for good and writes its state to a file. No 9p file system may be mounted. */
  async save(path: string): Promise<void> {
    await this.#command('stop')
    await this.#command('migrate-set-parameters', { 'max-bandwidth': 0 })
    await this.#command('migrate', { uri: `exec:cat >${shellQuoted(path)}` })
    const status = await this.#poll('query-migrate', (each) => each === 'completed' || each === 'failed')
    if (status === 'failed') throw this.failure(`QEMU cannot save the guest to ${path}`)
  }

  /** Ends QEMU at once. Safe to call twice. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await limited(this.ended, 'QEMU does not end although it was killed')
    this.port.destroy()
    this.#monitor.close()
  }

  /** Asks until the status is one of those awaited: QEMU has no event for these. */
  async #poll(question: string, isAwaited: (status: string | undefined) => boolean): Promise<string | undefined> {
    const deadline = performance.now() + machineTimeout
    for (;;) {
      const { status } = (await this.#command(question)) as { status?: string }
      if (isAwaited(status)) return status
      if (performance.now() > deadline) throw this.failure(`QEMU still answers "${status}" to "${question}"`)
      await Bun.sleep(pollInterval)
    }
  }

  #command(name: string, values?: object): Promise<unknown> {
    const failure = this.ended.then((how) => {
      throw this.failure(`QEMU ${how} while it was told "${name}"`)
    })
    return limited(Promise.race([this.#monitor.execute(name, values), failure]), `QEMU does not answer "${name}"`)
  }
}

interface Ends {
  readonly port: Socket
  readonly monitor: Socket
}

/** QEMU's monitor: QMP (https://www.qemu.org/docs/master/interop/qmp-spec.html). One command at a time. */
class Monitor {
  readonly #socket: Socket
  readonly #waiting: ((answer: { return?: unknown; error?: { desc: string } }) => void)[] = []
  #rest = ''
  #ready: Promise<unknown>

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#take(text))
    // The machine's own end tells why.
    socket.on('error', () => socket.destroy())
    this.#ready = this.#send('qmp_capabilities')
  }

  execute(name: string, values?: object): Promise<unknown> {
    const answer = this.#ready.then(() => this.#send(name, values))
    this.#ready = answer.catch(() => undefined)
    return answer
  }

  close(): void {
    this.#socket.destroy()
  }

  #send(name: string, values: object = {}): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#waiting.push(({ return: result, error }) =>
      error === undefined ? resolve(result) : reject(new GuestError(`QEMU refuses "${name}": ${error.desc}`)),
    )
    this.#socket.write(`${JSON.stringify({ execute: name, arguments: values })}\n`)
    return promise
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const message = JSON.parse(line)
      // Everything else is the greeting or an event.
      if ('return' in message || 'error' in message) this.#waiting.shift()?.(message)
    }
  }
}

function commandLine(
  options: MachineOptions,
  files: MachineFiles,
  paths: { readonly commands: string; readonly monitor: string },
): string[] {
  return [
    tool('qemu-system-x86_64'),
    ...machineArguments(options),
    ...['-kernel', files.kernel, '-initrd', files.initramfs],
    ...['-chardev', `socket,id=commands,path=${optionValue(paths.commands)}`],
    ...['-qmp', `unix:${optionValue(paths.monitor)}`],
    ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
    ...['-virtfs', `local,path=${optionValue(files.share)},mount_tag=share,security_model=none,multidevs=remap`],
    ...(files.snapshot === undefined ? [] : ['-incoming', `exec:cat ${shellQuoted(files.snapshot)}`]),
  ]
}

/** A server for one connection: QEMU connects when it starts. */
async function listen(path: string): Promise<{ readonly server: Server; readonly connection: Promise<Socket> }> {
  const { promise: connection, resolve } = Promise.withResolvers<Socket>()
  const server = createServer(resolve)
  server.maxConnections = 1
  await new Promise<void>((listening, failed) => {
    server.once('error', failed)
    server.listen(path, listening)
  })
  return { server, connection }
}

/** `promise`, or {@link GuestError} when it takes longer than {@link machineTimeout}. */
export async function limited<T>(promise: Promise<T>, message: string, timeout = machineTimeout): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new GuestError(`${message} within ${timeout / 1000} s`)), timeout)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** QEMU's options are separated by commas. */
function optionValue(text: string): string {
  return text.replaceAll(',', ',,')
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
