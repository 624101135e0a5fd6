import type { GatewayConfig, ServerConfig } from '../config/index.ts'

/**
 * What a check found: `ok`, `warning` (it works, but not as well as it could), `failed` (it will not work), `skipped` (it cannot be
 * found out here, and that is no obstacle). `text` is one sentence; after `warning` and `failed` it says what to do.
 */
export interface Result {
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped'
  readonly text: string
}

/** What this host is to be, and its configuration when there is one that can be read. */
export type Examined =
  | { readonly role?: undefined; readonly config?: undefined }
  | { readonly role: 'gateway'; readonly config?: GatewayConfig | undefined }
  | { readonly role: 'server'; readonly config?: ServerConfig | undefined }

/** One thing that a host needs. */
export interface Check {
  readonly name: string
  /**
   * Finds out, and leaves everything as it was. Undefined when the question has no meaning for this host. What it throws counts as
   * `failed`, with the error's message.
   */
  run(examined: Examined): Result | undefined | Promise<Result | undefined>
}

export const ok = (text: string): Result => ({ status: 'ok', text })
export const warning = (text: string): Result => ({ status: 'warning', text })
export const failed = (text: string): Result => ({ status: 'failed', text })
export const skipped = (text: string): Result => ({ status: 'skipped', text })

const ORDER = ['ok', 'skipped', 'warning', 'failed'] as const

/** Several results as one: the worst status, and the texts of those that have it. Undefined is in order, with nothing to say. */
export function worst(results: readonly (Result | undefined)[]): Result {
  const said = results.filter((result) => result !== undefined)
  const status = ORDER.findLast((candidate) => said.some((result) => result.status === candidate)) ?? 'ok'
  const texts = said.filter((result) => result.status === status).map(({ text }) => text)
  return { status, text: texts.join('; ') }
}
