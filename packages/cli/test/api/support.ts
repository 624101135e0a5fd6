import { afterAll } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ApiServer, type ServeApiOptions, serveApi } from '../../src/api/serve.ts'
import type { FakeGateway } from './fake-gateway.ts'

export const token = 'abcdefghijklmnop'

/** A folder for one test file, with a file that holds {@link token}. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'xoffload-api-'))
  writeFileSync(join(folder, 'token'), `${token}\n`, { mode: 0o600 })
  afterAll(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Writes a file with exactly this mode, whatever the umask. */
export function writeWithMode(path: string, text: string, mode: number): void {
  writeFileSync(path, text)
  chmodSync(path, mode)
}

/** A fake gateway's API on a unix socket; what nobody foresaw fails the test that awaits `close`. */
export async function onSocket(
  gateway: FakeGateway,
  path: string,
  options: Partial<ServeApiOptions> = {},
): Promise<ApiServer & AsyncDisposable> {
  const errors: unknown[] = []
  const server = await serveApi(gateway, { socket: path }, { onError: (error) => errors.push(error), ...options })
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server.close()
      if (errors.length > 0) throw new AggregateError(errors, 'the API had errors')
    },
  }
}

/** Sends a GET request on a connection of its own, whose answer the test reads itself. */
export function rawGet(socket: string, path: string): Socket {
  const connection = connect({ path: socket })
  connection.on('error', () => {})
  connection.write(`GET ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`)
  return connection
}

/** Resolves when the condition is true; rejects after five seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`it did not come true: ${condition}`)
    await Bun.sleep(5)
  }
}
