const MAXIMUM_LENGTH = 256

/** What an error says, short enough for a message. Never throws, whatever was thrown. */
export function errorText(error: unknown): string {
  try {
    const text = error instanceof Error ? error.message : String(error)
    return text.length > MAXIMUM_LENGTH ? `${text.slice(0, MAXIMUM_LENGTH)}...` : text
  } catch {
    return 'an error without a text'
  }
}

/** Microseconds as a message carries them: a whole u32. */
export function wholeMicroseconds(microseconds: number): number {
  return Math.min(Math.max(Math.round(microseconds), 0), 0xffff_ffff)
}
