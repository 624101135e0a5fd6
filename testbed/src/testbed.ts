import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { defaultService, planAddresses, type ServiceAddress } from './address-plan.ts'
import { TestbedError } from './errors.ts'
import { Host } from './host.ts'
import { buildNetwork, portName } from './network.ts'
import { enterTestbed, namespaceName, removeAbandonedTestbeds, removeTestbed, testbedDirectory } from './registry.ts'
import { closeOnSignal } from './signals.ts'
import { requireRoot, tool } from './tools.ts'

export interface TestbedOptions {
  /** Lower-case letters and digits, each once. */
  readonly hosts: readonly string[]
  /** A service address on the device of one host. Default host `gateway`, 10.77.0.200, fd78:6f66:6c6f::200. */
  readonly service?: Partial<ServiceAddress>
}

/**
 * Hosts on one Ethernet segment: a network namespace each, joined by a bridge in a namespace of its own. Nothing is made in the
 * root namespace. A signal that ends this process closes it first; what a killed process left is removed by the next `create`
 * of any process on the machine. Several testbeds may exist at once, in one process or in several.
 */
export class Testbed implements AsyncDisposable {
  readonly id: string
  readonly hosts: readonly Host[]
  readonly service: ServiceAddress | undefined
  /** The testbed's files. It goes with the testbed. */
  readonly directory: string
  readonly #closed: { promise?: Promise<void> } = {}
  readonly #forgetSignals: () => void
  readonly #built: Promise<void>

  private constructor(options: TestbedOptions) {
    const plan = planAddresses(options.hosts)
    this.service = options.service === undefined ? undefined : { ...defaultService, ...options.service }
    if (this.service !== undefined && !options.hosts.includes(this.service.host)) {
      throw new TestbedError(
        `The service address is to be on the host "${this.service.host}", which the testbed does not have`,
      )
    }
    this.id = enterTestbed()
    this.directory = testbedDirectory(this.id)
    // A digit in front: no host can have this name.
    const switchNamespace = namespaceName(this.id, '0switch')
    this.hosts = plan.map((addresses, index) => {
      const directory = join(this.directory, addresses.name)
      mkdirSync(directory)
      const port = { namespace: switchNamespace, device: portName(index) }
      return new Host(addresses, namespaceName(this.id, addresses.name), directory, port, this.service)
    })
    const namespaceOf = (host: string): string => namespaceName(this.id, host)
    this.#built = buildNetwork({ switchNamespace, hosts: plan, namespaceOf, service: this.service })
    this.#forgetSignals = closeOnSignal(() => this.close())
  }

  /** Builds a testbed. Throws {@link TestbedError} without root or `ip`, or for names that cannot be used. */
  static async create(options: TestbedOptions): Promise<Testbed> {
    requireRoot()
    for (const name of ['ip', 'nsenter', 'setpriv']) tool(name)
    await removeAbandonedTestbeds()
    const testbed = new Testbed(options)
    try {
      await testbed.#built
    } catch (error) {
      await testbed.close()
      throw error
    }
    return testbed
  }

  /** A host by its name. Throws {@link TestbedError} when there is none. */
  host(name: string): Host {
    const host = this.hosts.find((each) => each.name === name)
    if (host === undefined) throw new TestbedError(`The testbed has no host "${name}"`)
    return host
  }

  /** Whether {@link close} was called, as a signal does: programs on the hosts end then, and that is no failure of theirs. */
  get closing(): boolean {
    return this.#closed.promise !== undefined
  }

  /** Kills all programs on the hosts and removes everything. Safe to call twice. */
  close(): Promise<void> {
    this.#closed.promise ??= this.#close()
    return this.#closed.promise
  }

  async #close(): Promise<void> {
    // Half a network cannot be removed while the other half is being made. The error itself goes to whoever awaits create().
    await this.#built.catch(() => undefined)
    await removeTestbed(this.id)
    this.#forgetSignals()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
