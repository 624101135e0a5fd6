import { RedirectorError, type RedirectorErrorCode } from '@xoffload/core'
import { LibraryMissingError, LinuxError } from '@xoffload/linux'

const REASONS: Record<string, RedirectorErrorCode> = {
  EPERM: 'permission',
  EACCES: 'permission',
  E2BIG: 'full',
  ENOMEM: 'full',
  ENOSPC: 'full',
  EBUSY: 'busy',
  EEXIST: 'busy',
  EAGAIN: 'busy',
  ENODEV: 'gone',
  ENXIO: 'gone',
  EBADF: 'gone',
}

/** What the kernel said, as the error of a redirector. Other errors are returned as they are. */
export function asRedirectorError(doing: string, error: unknown): unknown {
  if (error instanceof LibraryMissingError) return new RedirectorError('unsupported', error.message, { cause: error })
  if (!(error instanceof LinuxError)) return error
  return new RedirectorError(REASONS[error.errno] ?? 'unsupported', `${doing}: ${error.message}`, { cause: error })
}
