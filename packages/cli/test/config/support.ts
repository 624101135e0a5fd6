import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError, type ConfigKind, loadConfig } from '../../src/config/index.ts'

/** A folder with the files that the configurations of these tests name. */
export class ConfigFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'xoffload-config-'))

  constructor() {
    for (const name of ['ca.crt', 'host.crt', 'host.key', 'app.ts', 'select.ts']) this.write(name, '')
  }

  write(name: string, text: string | Uint8Array): string {
    const path = join(this.path, name)
    writeFileSync(path, text)
    return path
  }

  /** The problems of a file as `key: text` lines; fails when it has none. */
  async problems(kind: ConfigKind, text: string | Uint8Array, name = 'xoffload.toml'): Promise<string[]> {
    const path = this.write(name, text)
    try {
      await loadConfig(kind, path)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      return error.message.split('\n').map((line) => line.replaceAll(this.path, '<folder>'))
    }
    throw new Error('the configuration was accepted')
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

export const gatewayToml = `
name = "gateway"
device = "eth0"

[service]
address = "198.51.100.1"
port = 80

[control]
ca = "ca.crt"
certificate = "host.crt"
key = "host.key"

[[servers]]
name = "s1"
control = "10.0.0.11:7900"
proxy = "10.0.0.11:8080"

[[servers]]
name = "s2"
control = "[2001:db8::12]:7900"
`

export const serverToml = `
name = "s1"
device = "eth0"

[control]
listen = "10.0.0.11:7900"
ca = "ca.crt"
certificate = "host.crt"
key = "host.key"
gateways = ["gateway"]

[[services]]
address = "198.51.100.1"
port = 80

[application]
module = "./app.ts"
listen = "10.0.0.11:8080"
`
