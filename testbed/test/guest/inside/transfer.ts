// A server that takes bytes, and a client that sends them, each in the namespace of its name.
import { join } from 'node:path'
import { runTool } from '../../../src/command.ts'
import { pattern } from './pattern.ts'

const program = join(import.meta.dir, 'transfer-program.ts')

function command(namespace: 'client' | 'server', ...words: readonly (string | number)[]): string[] {
  return ['ip', 'netns', 'exec', namespace, process.execPath, program, ...words.map(String)]
}

/** Starts the server; resolves when it listens. */
export async function startServer(address: string, port: number): Promise<AsyncDisposable> {
  const child = Bun.spawn(command('server', 'server', address, port), { stdout: 'pipe', stderr: 'inherit' })
  const { value } = await child.stdout.getReader().read()
  if (value === undefined) throw new Error('The server did not start')
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}

/** Sends bytes from the client to an address; resolves with the server's answer: how many arrived, and their checksum. */
export async function transfer(address: string, port: number, bytes: number): Promise<string> {
  const child = Bun.spawn(command('client', 'client', address, port, bytes), {
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (child.exitCode !== 0) throw new Error(`The client ended with ${child.exitCode ?? child.signalCode}: ${stderr}`)
  return stdout
}

/** A connection from the client whose bytes are sent when the test says so. */
export interface LiveTransfer extends AsyncDisposable {
  /** The client's port. */
  readonly port: number
  /** Sends so many of the bytes. */
  send(bytes: number): void
  /** The server's answer, when all were sent: as that of {@link transfer}. */
  answer(): Promise<string>
}

/** Connects from the client, to send so many bytes in parts. */
export async function openTransfer(address: string, port: number, bytes: number): Promise<LiveTransfer> {
  const child = Bun.spawn(command('client', 'parts', address, port, bytes), {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
  const output = child.stdout.getReader()
  const next = async () => new TextDecoder().decode((await output.read()).value)
  return {
    port: Number(await next()),
    send(bytes) {
      child.stdin.write(`${bytes}\n`)
      child.stdin.flush()
    },
    answer: next,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}

/** What {@link transfer} resolves with when all bytes arrived as they were sent. */
export function allOf(bytes: number): string {
  return `${bytes} ${Bun.hash.crc32(pattern(bytes)).toString(16)}`
}

/** What becomes of the client's attempt to connect: `accepted`, `refused`, or `no answer` for so many milliseconds. */
export async function probe(address: string, port: number, patience = 15_000): Promise<string> {
  return (await runTool(command('client', 'probe', address, port, patience))).stdout
}
