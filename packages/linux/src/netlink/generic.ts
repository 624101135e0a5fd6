import { LinuxError } from '../errno.ts'
import { NetlinkBody, netlinkAttributes, viewOf } from './message.ts'
import type { NetlinkReply } from './reply.ts'
import { NetlinkSocket } from './socket.ts'

const NETLINK_GENERIC = 16
/** The family that knows all others, and its one request used here (include/uapi/linux/genetlink.h). */
const GENL_ID_CTRL = 16
const CTRL_CMD_GETFAMILY = 3
const CTRL_ATTR_FAMILY_ID = 1
const CTRL_ATTR_FAMILY_NAME = 2
/** `sizeof(struct genlmsghdr)`. */
const GENERIC_HEADER = 4

/** A family of generic netlink (include/uapi/linux/genetlink.h), such as `ethtool` or `devlink`. */
export class GenericNetlink {
  readonly #socket: NetlinkSocket
  readonly #family: number

  private constructor(socket: NetlinkSocket, family: number) {
    this.#socket = socket
    this.#family = family
  }

  /** Undefined when the kernel does not have the family. Throws {@link LinuxError}. */
  static open(family: string): GenericNetlink | undefined {
    const socket = new NetlinkSocket(NETLINK_GENERIC)
    try {
      const body = genericBody(CTRL_CMD_GETFAMILY).text(CTRL_ATTR_FAMILY_NAME, family).bytes
      const [reply] = socket.request(`CTRL_CMD_GETFAMILY ${family}`, GENL_ID_CTRL, 0, body)
      const id = reply && genericAttributes(reply).get(CTRL_ATTR_FAMILY_ID)
      if (id === undefined || id.length < 2) throw new LinuxError('CTRL_CMD_GETFAMILY', 'EBADMSG', 'no family id')
      return new GenericNetlink(socket, viewOf(id).getUint16(0, true))
    } catch (error) {
      socket.close()
      if (error instanceof LinuxError && error.errno === 'ENOENT') return undefined
      throw error
    }
  }

  /** The attributes of every answer. Throws {@link LinuxError}. */
  request(call: string, body: NetlinkBody, flags = 0): ReadonlyMap<number, Uint8Array>[] {
    return this.#socket.request(call, this.#family, flags, body.bytes).map(genericAttributes)
  }

  close(): void {
    this.#socket.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** A request of a generic netlink family, to which attributes are added. */
export function genericBody(command: number, version = 1): NetlinkBody {
  return new NetlinkBody(Uint8Array.of(command, version, 0, 0))
}

function genericAttributes({ body }: NetlinkReply): ReadonlyMap<number, Uint8Array> {
  return netlinkAttributes(body.subarray(GENERIC_HEADER))
}
