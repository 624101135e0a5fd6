/** Builds a table of 256 flags from a predicate. */
function table(accepts: (byte: number, character: string) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (accepts(byte, String.fromCharCode(byte)) ? 1 : 0))
}

/** 1 for `tchar`, the characters of methods and field names (RFC 9110 5.6.2). */
export const TOKEN = table((_, character) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(character))

/** 1 for the characters of a field value: visible ASCII, obs-text, space and tab (RFC 9110 5.5). */
export const FIELD_VALUE = table((byte) => byte === 0x09 || (byte >= 0x20 && byte !== 0x7f))

/**
 * 1 for the characters of a request target: visible ASCII without `#`. RFC 3986 allows fewer, but browsers send the others
 * unescaped (WHATWG URL), and none of them changes where a request ends.
 */
export const TARGET = table((byte, character) => byte > 0x20 && byte < 0x7f && character !== '#')

export const TAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SPACE = 0x20
export const COLON = 0x3a
export const SEMICOLON = 0x3b

/** The value of a hexadecimal digit, -1 for any other byte. */
export const HEX_VALUE = Int8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte)
  return /[0-9A-Fa-f]/.test(character) ? Number.parseInt(character, 16) : -1
})
