/** Text that stands for what nobody but client and server may see. Every part of eight characters occurs in nothing else. */
export const SECRET = 'xQ7vTz2pLm9RkW4nHs8BdYc3GfJ6'

/** As many characters of it in a row are a leak. */
const PART = 8

/**
 * The parts of {@link SECRET} that occur in a text: as they are, in hexadecimal, base64, or as the numbers of its bytes, which is how
 * arrays of bytes are printed.
 */
export function partsOfSecretIn(text: string): string[] {
  const numbers = text.replaceAll(/[\s,]+/g, ',')
  const hexadecimal = text.toLowerCase().replaceAll(/[\s:]+/g, '')
  const parts = Array.from({ length: SECRET.length - PART + 1 }, (_, index) => SECRET.slice(index, index + PART))
  return parts.filter((part) => {
    const bytes = Buffer.from(part)
    return (
      text.includes(part) ||
      hexadecimal.includes(bytes.toString('hex')) ||
      numbers.includes(`,${bytes.join(',')},`) ||
      base64Middles(bytes).some((middle) => text.includes(middle))
    )
  })
}

/** What is the same in base64 whatever stands before and behind: it has three forms, by where in a group of three the bytes begin. */
function base64Middles(bytes: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64url')
    return text.slice(Math.ceil((before * 4) / 3), Math.floor(((before + bytes.length) * 4) / 3))
  })
}
