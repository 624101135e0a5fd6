import { readFileSync, writeFileSync } from 'node:fs'

/** Changes a JSON configuration file. */
export function editConfiguration(file: string, change: (config: Record<string, unknown>) => void): void {
  const config: Record<string, unknown> = JSON.parse(readFileSync(file, 'utf8'))
  change(config)
  writeFileSync(file, JSON.stringify(config))
}
