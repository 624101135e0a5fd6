import { EAGAIN } from './errno.ts'
import { check, lastErrno, libc } from './ffi/libc.ts'
import { MSG_DONTWAIT } from './socket/constants.ts'
import { CMSG_HEADER, MessageHeader } from './socket/message-header.ts'

// include/uapi/linux/if_packet.h: the control message has a struct tpacket_auxdata.
const AUXDATA_LENGTH = 20
const AUXDATA = { status: 0, tag: 16, protocol: 18 } as const
const TP_STATUS_VLAN_VALID = 1 << 4
/** Where an Ethernet header has its VLAN tag, behind two addresses, and how long that is (IEEE 802.1Q). */
const TAG_OFFSET = 12
const TAG_LENGTH = 4

/** Reads the frames of a packet socket with PACKET_AUXDATA set, and puts back the VLAN tag that the kernel has taken off (packet(7)). */
export class TaggedFrames {
  readonly #message: MessageHeader
  readonly #snapLength: number

  constructor(snapLength: number) {
    this.#snapLength = snapLength
    this.#message = new MessageHeader(snapLength, CMSG_HEADER + AUXDATA_LENGTH + TAG_LENGTH)
  }

  /** The next frame, undefined when there is none. Throws {@link LinuxError}. */
  read(fd: number): Uint8Array | undefined {
    const { data, control } = this.#message
    const header = this.#message.prepare(this.#snapLength, control.bytes.length)
    const length = Number(libc.recvmsg(fd, header, MSG_DONTWAIT))
    if (length < 0 && lastErrno() === EAGAIN) return undefined
    check('recvmsg(AF_PACKET)', length)
    const frame = data.bytes.subarray(0, length)
    const hasAuxdata = this.#message.controlLength >= CMSG_HEADER + AUXDATA_LENGTH
    const status = hasAuxdata ? control.view.getUint32(CMSG_HEADER + AUXDATA.status, true) : 0
    if ((status & TP_STATUS_VLAN_VALID) === 0 || length < TAG_OFFSET) return frame.slice()
    const tagged = new Uint8Array(length + TAG_LENGTH)
    tagged.set(frame.subarray(0, TAG_OFFSET))
    const view = new DataView(tagged.buffer)
    view.setUint16(TAG_OFFSET, control.view.getUint16(CMSG_HEADER + AUXDATA.protocol, true))
    view.setUint16(TAG_OFFSET + 2, control.view.getUint16(CMSG_HEADER + AUXDATA.tag, true))
    tagged.set(frame.subarray(TAG_OFFSET), TAG_OFFSET + TAG_LENGTH)
    return tagged
  }
}
