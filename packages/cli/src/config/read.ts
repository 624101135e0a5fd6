import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { ConfigError } from './error.ts'

/** A configuration of this size was not written by a person. */
const maximumBytes = 1_048_576

type Format = 'toml' | 'json'

/** Reads and parses `.toml` or `.json`. Throws {@link ConfigError}, with the line of a syntax error. */
export async function readConfigFile(path: string): Promise<unknown> {
  const format = formatOf(path)
  const text = await readText(path)
  try {
    return format === 'toml' ? Bun.TOML.parse(text) : JSON.parse(text)
  } catch (cause) {
    const words = cause instanceof Error ? cause.message.replace(/^(TOML|JSON) Parse error: /, '') : String(cause)
    const line = await syntaxErrorLine(path, format)
    const problem = { key: '', text: `is no ${format.toUpperCase()}: ${words}` }
    throw new ConfigError(path, [line === undefined ? problem : { ...problem, line }], { cause })
  }
}

function formatOf(path: string): Format {
  const extension = extname(path)
  if (extension === '.toml') return 'toml'
  if (extension === '.json') return 'json'
  throw new ConfigError(path, [
    { key: '', text: `expected a name that ends in .toml or .json, found ${JSON.stringify(extension)}` },
  ])
}

async function readText(path: string): Promise<string> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw new ConfigError(path, [{ key: '', text: `cannot be read: ${reason(cause)}` }], { cause })
  }
  if (bytes.length > maximumBytes) {
    throw new ConfigError(path, [{ key: '', text: `has ${bytes.length} bytes: at most ${maximumBytes} are expected` }])
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new ConfigError(path, [{ key: '', text: 'is no UTF-8 text' }], { cause })
  }
}

/** Bun's parsers tell the place of an error only when a file is imported. JSONC is laxer than JSON: it may find no error at all. */
async function syntaxErrorLine(path: string, format: Format): Promise<number | undefined> {
  try {
    await import(path, { with: { type: format === 'toml' ? 'toml' : 'jsonc' } })
    return undefined
  } catch (error) {
    return error instanceof BuildMessage ? error.position?.line : undefined
  }
}

/** Why a file system call failed, in words. */
export function reason(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EISDIR') return 'it is a folder'
  return cause instanceof Error ? cause.message : String(cause)
}
