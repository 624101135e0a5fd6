/** Limits of a request head. */
export interface HeadLimits {
  /** Longest head in bytes, from the first byte of the request line to the empty line, both included. */
  readonly headSize: number
  /** Most header fields. */
  readonly headerCount: number
}

/** Limits of a request body. */
export interface BodyLimits {
  /** Most bytes of content, without any chunk framing. */
  readonly bodySize: number
  /** Longest chunk-size line in bytes, extensions included. */
  readonly chunkLineSize: number
  /** Most bytes of all chunk extensions of a body together: else framing could cost more than content. */
  readonly chunkExtensionSize: number
  /** Longest trailer section in bytes. */
  readonly trailerSize: number
}

export const DEFAULT_HEAD_LIMITS: HeadLimits = { headSize: 16 * 1024, headerCount: 100 }

export const DEFAULT_BODY_LIMITS: BodyLimits = {
  bodySize: Number.MAX_SAFE_INTEGER,
  chunkLineSize: 256,
  chunkExtensionSize: 16 * 1024,
  trailerSize: 8 * 1024,
}
