import type { RepairWindow } from '@xoffload/core'
import { IPPROTO_TCP } from '../socket/constants.ts'
import { getOptionBytes, setOptionBytes } from '../socket/options.ts'
import { TCP_REPAIR_WINDOW } from './constants.ts'

// `struct tcp_repair_window` (include/uapi/linux/tcp.h): snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup.
const words = new Uint32Array(5)

/** Reads TCP_REPAIR_WINDOW of a frozen socket. Throws {@link LinuxError}. */
export function getRepairWindow(fd: number): RepairWindow {
  getOptionBytes(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, words, 'getsockopt(TCP_REPAIR_WINDOW)')
  return {
    sendLastUpdate: words[0] as number,
    sendWindow: words[1] as number,
    maximumWindow: words[2] as number,
    receiveWindow: words[3] as number,
    receiveLastUpdate: words[4] as number,
  }
}

/** Sets TCP_REPAIR_WINDOW. Only once the receive queue is full: the kernel checks it against `rcv_nxt`. Throws {@link LinuxError}. */
export function setRepairWindow(fd: number, window: RepairWindow): void {
  words[0] = window.sendLastUpdate
  words[1] = window.sendWindow
  words[2] = window.maximumWindow
  words[3] = window.receiveWindow
  words[4] = window.receiveLastUpdate
  setOptionBytes(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, words, 'setsockopt(TCP_REPAIR_WINDOW)')
}
