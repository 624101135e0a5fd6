import type { Endpoint } from '../flow.ts'

/** A server as a selector sees it at the moment of a request. */
export interface ServerState {
  /** Unique and lasting: a consistent hash follows it. */
  readonly name: string
  /** Whether it may be given requests now. */
  readonly up: boolean
  /** Connections that it serves now. */
  readonly connections: number
}

/** What a selector may know of a request. */
export interface SelectionRequest {
  readonly method: string
  /** The request target as sent (RFC 9112 section 3.2). */
  readonly target: string
  /** The value of a header field by its case-insensitive name, undefined when it is absent. */
  header(name: string): string | undefined
  readonly client: Endpoint
}

/** Picks one of the servers that are up; undefined when there is none. Called for every request. */
export type ServerSelector = <S extends ServerState>(request: SelectionRequest, servers: readonly S[]) => S | undefined
