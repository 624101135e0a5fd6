import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { reason } from '../config/read.ts'
import { ApiError } from './error.ts'

/** A shorter token can be guessed. */
const SHORTEST_TOKEN = 16
/** A longer one was not written as a token. */
const LONGEST_TOKEN = 4096

/**
 * Reads a token: the text of a file without the white space around it, at least 16 printable ASCII characters. The file must be such that
 * no other user but those of its group can read it, and only its owner write it. Throws {@link ApiError}, which never quotes the token.
 */
export async function readToken(path: string): Promise<string> {
  try {
    const { mode, size } = await stat(path)
    if ((mode & 0o037) !== 0) {
      const shown = (mode & 0o777).toString(8).padStart(4, '0')
      throw new ApiError(`the token file ${path} has mode ${shown}, so that others can use it: run chmod 0600 ${path}`)
    }
    if (size > LONGEST_TOKEN) throw new ApiError(`the token file ${path} has ${size} bytes: that is no token`)
    const token = (await readFile(path, 'utf8')).trim()
    if (!/^[\x21-\x7e]*$/.test(token)) {
      throw new ApiError(`the token in ${path} has characters that are not printable ASCII, or spaces`)
    }
    if (token.length < SHORTEST_TOKEN) {
      throw new ApiError(
        `the token in ${path} has ${token.length} characters: at least ${SHORTEST_TOKEN} are needed, such as those of "openssl rand -hex 32"`,
      )
    }
    return token
  } catch (cause) {
    if (cause instanceof ApiError) throw cause
    throw new ApiError(`the token file ${path} cannot be read: ${reason(cause)}`, { cause })
  }
}

/** Whether a request's `Authorization` (RFC 6750 section 2.1) shows the token. Takes the same time for every wrong one. */
export function tokenCheck(token: string): (authorization: string | null) => boolean {
  const expected = digest(token)
  return (authorization) => {
    const shown = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
    return timingSafeEqual(digest(shown ?? ''), expected) && shown !== undefined
  }
}

/** Of equal length for all tokens, as the comparison needs it. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
