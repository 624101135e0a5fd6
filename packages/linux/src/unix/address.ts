import { LinuxError } from '../errno.ts'
import { AF_UNIX } from '../socket/constants.ts'

/** `sizeof(sun_path)` (unix(7)). */
const PATH_LENGTH = 108

/** `struct sockaddr_un` of a path. Throws {@link LinuxError} when the path does not fit. */
export function encodeUnixAddress(path: string): Uint8Array {
  const encoded = new TextEncoder().encode(path)
  if (encoded.length === 0 || encoded.length >= PATH_LENGTH || encoded.includes(0)) {
    const advice = `"${path}": 1 to ${PATH_LENGTH - 1} bytes without a NUL are expected`
    throw new LinuxError('sockaddr_un', 'EINVAL', advice)
  }
  const address = new Uint8Array(2 + encoded.length + 1)
  address[0] = AF_UNIX
  address.set(encoded, 2)
  return address
}
