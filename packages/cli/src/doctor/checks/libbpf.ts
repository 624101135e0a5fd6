import { bpfProgramInfo, LibraryMissingError, LinuxError } from '@xoffload/linux'
import { type Check, failed, ok } from '../check.ts'

/** The C library that loads BPF programs is installed. */
export const libbpfCheck: Check = {
  name: 'libbpf',
  run() {
    try {
      // A question of no interest. Without privileges the kernel does not answer it, but then the library is there.
      bpfProgramInfo(0)
    } catch (error) {
      if (error instanceof LibraryMissingError) return failed(error.message)
      if (!(error instanceof LinuxError)) throw error
    }
    return ok('libbpf.so.1 can be opened')
  },
}
