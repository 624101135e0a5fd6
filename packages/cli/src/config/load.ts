import { resolve } from 'node:path'
import type { Static, TObject } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { type ApiConfig, resolveApi } from './api.ts'
import { checkSchema } from './check.ts'
import { ConfigError } from './error.ts'
import { type GatewayConfig, resolveGateway } from './gateway.ts'
import { gatewaySchema } from './gateway-schema.ts'
import { readConfigFile } from './read.ts'
import { Resolver } from './resolve.ts'
import { resolveServer, type ServerConfig } from './server.ts'
import { serverSchema } from './server-schema.ts'

/** What a configuration file is for. */
export type ConfigKind = 'gateway' | 'server'

/** The result of {@link loadConfig}. */
export interface ConfigOf {
  gateway: GatewayConfig
  server: ServerConfig
}

/**
 * Reads a configuration file, TOML or JSON by its extension, checks it, fills in the defaults, and resolves paths against the file's
 * own folder. Throws {@link ConfigError} with all problems at once.
 */
export async function loadConfig<K extends ConfigKind>(kind: K, path: string): Promise<ConfigOf[K]>
export async function loadConfig(kind: ConfigKind, path: string): Promise<GatewayConfig | ServerConfig> {
  const file = resolve(path)
  return checkConfig(kind, file, await readConfigFile(file))
}

/**
 * {@link loadConfig} for what was read from a file already. `file` is an absolute path; `value` may be anything, and is changed.
 * Throws {@link ConfigError}.
 */
export function checkConfig<K extends ConfigKind>(kind: K, file: string, value: unknown): ConfigOf[K]
export function checkConfig(kind: ConfigKind, file: string, value: unknown): GatewayConfig | ServerConfig {
  if (kind === 'gateway') return complete(file, value, gatewaySchema, resolveGateway)
  return complete(file, value, serverSchema, resolveServer)
}

/**
 * Where the gateway with this configuration file serves its control API, undefined when it serves none. What else the file names, such
 * as keys, need not be readable. Throws {@link ConfigError}.
 */
export async function loadApiConfig(path: string): Promise<ApiConfig | undefined> {
  const file = resolve(path)
  return complete(file, await readConfigFile(file), gatewaySchema, (_, { api }, resolver) =>
    api === undefined ? undefined : resolveApi(file, api, resolver),
  )
}

function complete<Schema extends TObject, Config>(
  file: string,
  value: unknown,
  schema: Schema,
  resolveConfig: (file: string, raw: Static<Schema>, resolver: Resolver) => Config,
): Config {
  const filled = Value.Default(schema, value)
  const problems = checkSchema(schema, filled)
  if (problems.length > 0) throw new ConfigError(file, problems)
  const resolver = new Resolver(file)
  const config = resolveConfig(file, filled as Static<Schema>, resolver)
  if (resolver.problems.length > 0) throw new ConfigError(file, resolver.problems)
  return config
}
