import { IPPROTO_TCP } from '../socket/constants.ts'
import { setOption } from '../socket/options.ts'
import { TCP_MAXSEG } from './constants.ts'

/**
 * Limits the MSS that a socket announces, in bytes; of a listening one, that of the connections which it accepts from then on (TCP_MAXSEG,
 * tcp(7)). Throws {@link LinuxError} EINVAL for less than 88 (TCP_MIN_MSS) and more than 32767.
 */
export function setMaximumSegmentSize(fd: number, bytes: number): void {
  setOption(fd, IPPROTO_TCP, TCP_MAXSEG, bytes, 'setsockopt(TCP_MAXSEG)')
}
