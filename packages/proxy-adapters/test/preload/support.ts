import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type PreloadAdoptOptions,
  type PreloadConnection,
  PreloadServer,
  type PreloadServerOptions,
  preloadEnvironment,
} from '@xoffload/proxy-adapters/preload'
import { establishedSocket } from '../established-socket.ts'
import type { RawClient } from '../raw-client.ts'

const here = import.meta.dir
const clean: (() => void | Promise<void>)[] = []

/** Undoes what a test has set up, the last first. Each file of tests hangs it up itself: a hook belongs to the file that makes it. */
export async function cleanUp(): Promise<void> {
  const errors: unknown[] = []
  for (const step of clean.splice(0).reverse()) {
    try {
      await step()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}

export function afterTest(step: () => void | Promise<void>): void {
  clean.push(step)
}

/** Server programs that know nothing of this project, and how they are started; each prints its port. */
export const programs = {
  node: ['node', join(here, 'programs/node.mjs')],
  'Bun.serve': [process.execPath, join(here, 'programs/bun.ts')],
} as const
export type ProgramName = keyof typeof programs

/** A path for the agent's socket, in a folder of the test's own. */
export function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'preload-'))
  afterTest(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'agent.sock')
}

export interface Program {
  readonly pid: number
  readonly port: number
  readonly exited: Promise<number>
  kill(signal?: NodeJS.Signals): void
}

/** Starts a command that prints its port, with the shim unless `environment` says otherwise. */
export async function start(command: readonly string[], environment: Record<string, string>): Promise<Program> {
  const child = Bun.spawn([...command], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  afterTest(async () => {
    child.kill('SIGKILL')
    await child.exited
  })
  const { value } = await child.stdout.getReader().read()
  const port = Number(Buffer.from(value ?? '').toString())
  if (!(port > 0)) throw new Error(`${command.join(' ')} did not print its port`)
  return { pid: child.pid, port, exited: child.exited, kill: (signal) => child.kill(signal) }
}

export interface Installation {
  readonly program: Program
  readonly server: PreloadServer
  readonly socket: string
  readonly errors: unknown[]
}

/** A program with the shim, and the agent's side of it. */
export async function install(
  name: ProgramName,
  options: Partial<PreloadServerOptions> & { readonly hostname?: string } = {},
): Promise<Installation> {
  const socket = socketPath()
  const hostname = options.hostname ?? '127.0.0.1'
  const program = await start([...programs[name], hostname], preloadEnvironment(socket))
  const errors: unknown[] = []
  const listener = { address: hostname, port: program.port }
  const server = await PreloadServer.open({
    socket,
    listener,
    onError: (error) => errors.push(error),
    // Longer than a busy machine keeps this process from answering.
    askTimeout: 1000,
    ...options,
  })
  afterTest(() => server.close())
  await server.ready()
  return { program, server, socket, errors }
}

export interface AdoptedClient {
  readonly client: RawClient
  readonly connection: PreloadConnection
  /** Resolves when nothing more is to be expected of the connection. */
  readonly closed: Promise<void>
}

/** A client whose connection the program was given. */
export async function adoptClient(server: PreloadServer, options: PreloadAdoptOptions = {}): Promise<AdoptedClient> {
  const { fd, client } = await establishedSocket()
  afterTest(() => client.close())
  const closed = Promise.withResolvers<void>()
  const connection = server.adopt(fd, { onClose: () => closed.resolve(), ...options })
  await connection.taken
  return { client, connection, closed: closed.promise }
}

/** Looks again and again until it is so: for what no event tells of. */
export async function eventually(condition: () => boolean | Promise<boolean>, milliseconds = 10_000): Promise<void> {
  const deadline = performance.now() + milliseconds
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not become so')
    await Bun.sleep(5)
  }
}

/** How many descriptors a process has open. */
export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}
