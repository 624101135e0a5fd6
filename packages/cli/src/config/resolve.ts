import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Endpoint } from '@xoffload/core'
import { found } from './check.ts'
import { endpointKey, endpointOf, parseEndpoint } from './endpoint.ts'
import { type ConfigProblem, maximumProblems } from './error.ts'
import { reason } from './read.ts'

/** Turns texts that the schema has checked into what the program uses, and collects what is wrong with them all the same. */
export class Resolver {
  readonly problems: ConfigProblem[] = []
  readonly #folder: string

  constructor(file: string) {
    this.#folder = dirname(resolve(file))
  }

  problem(key: string, text: string): void {
    if (this.problems.length < maximumProblems) this.problems.push({ key, text })
  }

  /** A path that is relative to the configuration file's folder as an absolute one. */
  path(text: string): string {
    return resolve(this.#folder, text)
  }

  /** The absolute path of a file that exists and can be read. */
  file(key: string, text: string): string {
    const path = this.path(text)
    try {
      if (!statSync(path).isFile()) this.problem(key, `expected a file, found ${path}, which is none`)
      accessSync(path, constants.R_OK)
    } catch (cause) {
      const shown = text.includes('-----BEGIN') ? found(text) : path
      this.problem(
        key,
        `expected a file that can be read, found ${shown}${shown === path ? ` (${reason(cause)})` : ''}`,
      )
    }
    return path
  }

  endpoint(text: string): Endpoint {
    const endpoint = parseEndpoint(text)
    if (endpoint === undefined) throw new Error(`the schema let the endpoint ${JSON.stringify(text)} pass`)
    return endpoint
  }

  addressAndPort(address: string, port: number): Endpoint {
    const endpoint = endpointOf(address, port)
    if (endpoint === undefined) throw new Error(`the schema let the address ${JSON.stringify(address)} pass`)
    return endpoint
  }

  /** Reports each value that was there before. `entries` are pairs of key and value. */
  unique(what: string, entries: Iterable<readonly [key: string, value: string]>): void {
    const seen = new Map<string, string>()
    for (const [key, value] of entries) {
      const before = seen.get(value)
      if (before === undefined) seen.set(value, key)
      else this.problem(key, `expected another ${what} than ${before}, found the same: ${JSON.stringify(value)}`)
    }
  }

  uniqueEndpoints(what: string, entries: Iterable<readonly [key: string, endpoint: Endpoint]>): void {
    this.unique(
      what,
      Array.from(entries, ([key, endpoint]) => [key, endpointKey(endpoint)] as const),
    )
  }
}
