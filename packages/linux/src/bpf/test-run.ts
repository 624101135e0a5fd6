import { BPF_PRIVILEGE, checkBpf, libbpf } from '../ffi/libbpf.ts'
import { NativeMemory } from '../ffi/memory.ts'

export interface TestRunOptions {
  /** The frame, from the Ethernet header on. */
  readonly frame: Uint8Array
  /** How often, default 1. */
  readonly repeat?: number
  /** `struct __sk_buff` or `struct xdp_md`, for the fields that the kernel lets a test set. */
  readonly context?: Uint8Array
  /**
   * XDP only: what the program answers is carried out, frame by frame, so that a program which answers XDP_TX or XDP_REDIRECT is a packet
   * generator in the kernel. `context` says on which device the frames arrive. Needs Linux 5.18.
   */
  readonly live?: boolean
}

export interface TestRunResult {
  /** What the program returned the last time. 0 with `live`. */
  readonly verdict: number
  /** The mean time of one run in nanoseconds, a whole number. */
  readonly nanoseconds: number
}

const OPTIONS_LENGTH = 80
const BPF_F_TEST_XDP_LIVE_FRAMES = 2

/** Runs a program on a frame in the kernel, without a device (BPF_PROG_TEST_RUN). Throws `LinuxError`. */
export function testRun(
  programFd: number,
  { frame, repeat = 1, context, live = false }: TestRunOptions,
): TestRunResult {
  const options = new NativeMemory(OPTIONS_LENGTH)
  const input = new NativeMemory(frame.length)
  input.bytes.set(frame)
  options.view.setBigUint64(0, BigInt(OPTIONS_LENGTH), true)
  options.setPointer(8, input)
  options.view.setUint32(24, frame.length, true)
  if (context !== undefined) {
    const memory = new NativeMemory(context.length)
    memory.bytes.set(context)
    options.setPointer(32, memory)
    options.view.setUint32(48, context.length, true)
  }
  options.view.setInt32(60, repeat, true)
  if (live) options.view.setUint32(68, BPF_F_TEST_XDP_LIVE_FRAMES, true)
  checkBpf('bpf_prog_test_run_opts', libbpf().bpf_prog_test_run_opts(programFd, options.bytes), BPF_PRIVILEGE)
  return { verdict: options.view.getUint32(56, true), nanoseconds: options.view.getUint32(64, true) }
}
