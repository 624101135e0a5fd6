import { LinuxError } from '../errno.ts'
import { textUntilNul } from '../ffi/memory.ts'
import { GenericNetlink, genericBody } from './generic.ts'
import { attributeU32, type NetlinkBody, netlinkAttributes } from './message.ts'
import { NLM_F_DUMP } from './socket.ts'
import { attributesInOrder, fields } from './tc/attributes.ts'

/** include/uapi/linux/devlink.h. */
const CMD_PORT_GET = 5
const CMD_ESWITCH_GET = 29
const CMD_PARAM_GET = 38
const ATTR_BUS_NAME = 1
const ATTR_DEVICE_NAME = 2
const ATTR_PORT_IFINDEX = 6
const ATTR_ESWITCH_MODE = 25
const ATTR_PARAM = 80
const ATTR_PARAM_NAME = 81
const ATTR_PARAM_VALUES_LIST = 84
const ATTR_PARAM_VALUE = 85
const ATTR_PARAM_VALUE_DATA = 86
const ATTR_PARAM_VALUE_CMODE = 87
/** DEVLINK_PARAM_CMODE_RUNTIME: the value in force. */
const CMODE_RUNTIME = 0
const ESWITCH_MODES = ['legacy', 'switchdev'] as const

/** How a NIC's embedded switch works: `legacy` as an ordinary NIC, `switchdev` with a representor for each of its ports. */
export type EswitchMode = (typeof ESWITCH_MODES)[number]

/** The device behind a port as devlink(8) names it: `pci/0000:03:00.0`. */
export interface DevlinkHandle {
  readonly bus: string
  readonly device: string
}

/** Devices with devlink support. Every method throws {@link LinuxError}. */
export class Devlink {
  readonly #generic: GenericNetlink

  private constructor(generic: GenericNetlink) {
    this.#generic = generic
  }

  /** Undefined when the kernel has no devlink. */
  static open(): Devlink | undefined {
    const generic = GenericNetlink.open('devlink')
    return generic && new Devlink(generic)
  }

  /** The device that a network device is a port of, undefined when it is none of devlink. */
  handleOf(ifindex: number): DevlinkHandle | undefined {
    const replies = this.#generic.request('DEVLINK_CMD_PORT_GET', genericBody(CMD_PORT_GET), NLM_F_DUMP)
    return replies.map(decodeDevlinkPort).find((port) => port?.ifindex === ifindex)?.handle
  }

  /** Undefined when the device has no embedded switch. */
  eswitchMode(handle: DevlinkHandle): EswitchMode | undefined {
    const [reply] = this.#ask('DEVLINK_CMD_ESWITCH_GET', CMD_ESWITCH_GET, handle, (body) => body)
    return reply && decodeEswitchMode(reply)
  }

  /**
   * The value in force of a parameter that is a text, such as `flow_steering_mode`; undefined when the device has no such
   * parameter.
   */
  parameter(handle: DevlinkHandle, name: string): string | undefined {
    const call = `DEVLINK_CMD_PARAM_GET ${name}`
    const [reply] = this.#ask(call, CMD_PARAM_GET, handle, (body) => body.text(ATTR_PARAM_NAME, name))
    return reply && decodeParameter(reply)
  }

  close(): void {
    this.#generic.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #ask(call: string, command: number, { bus, device }: DevlinkHandle, add: (body: NetlinkBody) => NetlinkBody) {
    const body = genericBody(command).text(ATTR_BUS_NAME, bus).text(ATTR_DEVICE_NAME, device)
    try {
      return this.#generic.request(call, add(body))
    } catch (error) {
      if (error instanceof LinuxError && (error.errno === 'EOPNOTSUPP' || error.errno === 'EINVAL')) return []
      throw error
    }
  }
}

/**
 * The attributes of a DEVLINK_CMD_PORT_GET answer. Undefined for a port without a network device. Throws {@link LinuxError}
 * EBADMSG.
 */
export function decodeDevlinkPort(
  reply: ReadonlyMap<number, Uint8Array>,
): { readonly ifindex: number; readonly handle: DevlinkHandle } | undefined {
  const ifindex = reply.get(ATTR_PORT_IFINDEX)
  const bus = reply.get(ATTR_BUS_NAME)
  const device = reply.get(ATTR_DEVICE_NAME)
  if (ifindex === undefined || bus === undefined || device === undefined) return undefined
  return { ifindex: attributeU32(ifindex), handle: { bus: textUntilNul(bus), device: textUntilNul(device) } }
}

/** The attributes of a DEVLINK_CMD_ESWITCH_GET answer. Throws {@link LinuxError} EBADMSG. */
export function decodeEswitchMode(reply: ReadonlyMap<number, Uint8Array>): EswitchMode | undefined {
  const mode = reply.get(ATTR_ESWITCH_MODE)
  return mode && ESWITCH_MODES[fields('DEVLINK_ATTR_ESWITCH_MODE', mode, 2).getUint16(0, true)]
}

/** The attributes of a DEVLINK_CMD_PARAM_GET answer. */
export function decodeParameter(reply: ReadonlyMap<number, Uint8Array>): string | undefined {
  const parameter = netlinkAttributes(reply.get(ATTR_PARAM) ?? new Uint8Array())
  for (const { type, value } of attributesInOrder(parameter.get(ATTR_PARAM_VALUES_LIST) ?? new Uint8Array())) {
    if (type !== ATTR_PARAM_VALUE) continue
    const parts = netlinkAttributes(value)
    const data = parts.get(ATTR_PARAM_VALUE_DATA)
    if (parts.get(ATTR_PARAM_VALUE_CMODE)?.[0] === CMODE_RUNTIME && data !== undefined) return textUntilNul(data)
  }
  return undefined
}
