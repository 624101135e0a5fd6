// What the shim and this side say to each other: preload/src/protocol.h describes it, and both files must agree. What nginx's module says
// differently is in nginx/src/ngx_http_xoffload_adopt.h.
import { endianness } from 'node:os'
import { PreloadError } from './errors.ts'

export const PROTOCOL_VERSION = 1
export const SECRET_LENGTH = 16
/** The longest request head that comes with a question, bytes. */
export const MAXIMUM_HEAD_LENGTH = 16_384

const KNOCK_MAGIC = 'xoffload-knock\r\n'
/** Both sides run on one machine: numbers are in its byte order. */
const LITTLE_ENDIAN = endianness() === 'LE'

const NOTHING = new Uint8Array(0)
const ITEM_WATCH = 1
const ITEM_LENGTH = 16
const NUMBER_LENGTH = 8
const SHIM_MESSAGE_LENGTH = 24
const AGENT_MESSAGE_LENGTH = 48
const SECRET_OFFSET = 32

const shimMessageTypes = { 1: 'hello', 2: 'adopted', 3: 'closed', 4: 'ask', 5: 'returned', 6: 'lost' } as const
const agentMessageTypes = { welcome: 16, verdict: 17, recall: 18, end: 19 } as const

/** A message from a process of the server program. */
export interface ShimMessage {
  readonly type: (typeof shimMessageTypes)[keyof typeof shimMessageTypes]
  readonly connection: bigint
  /** `hello`: the version; `adopted`: the descriptor's number there; `ask`: the question's number. */
  readonly value: number
  /** Requests that have arrived on the connection there. */
  readonly requests: number
  /** `ask`: the head of the request that is next. */
  readonly bytes: Uint8Array
}

/** A message to a process of the server program. Numbers that are left out are 0. */
export interface AgentMessage {
  readonly type: keyof typeof agentMessageTypes
  readonly connection?: bigint
  readonly value?: number
  readonly argument?: number
  readonly requests?: number
  readonly milliseconds?: number
  readonly secret?: Uint8Array
}

export function encodeAgentMessage(message: AgentMessage): Uint8Array {
  const { type, connection = 0n, value = 0, argument = 0, requests = 0, milliseconds = 0, secret } = message
  const bytes = new Uint8Array(AGENT_MESSAGE_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, agentMessageTypes[type], LITTLE_ENDIAN)
  view.setUint32(4, value, LITTLE_ENDIAN)
  view.setBigUint64(8, connection, LITTLE_ENDIAN)
  view.setUint32(16, argument, LITTLE_ENDIAN)
  view.setUint32(20, requests, LITTLE_ENDIAN)
  view.setUint32(24, milliseconds, LITTLE_ENDIAN)
  if (secret !== undefined) bytes.set(secret, SECRET_OFFSET)
  return bytes
}

/** What goes into the mailbox together with a descriptor. */
export interface MailboxItem {
  readonly connection: bigint
  /** Whether the shim asks at request boundaries. */
  readonly watch: boolean
  /** It does not ask about so many requests. */
  readonly requests: number
  /** What was read of the connection and not served; the program reads it before all others. Only for nginx's module. */
  readonly received?: Uint8Array
}

export function encodeItem({ connection, watch, requests, received = NOTHING }: MailboxItem): Uint8Array {
  const bytes = new Uint8Array(ITEM_LENGTH + received.length)
  bytes.set(received, ITEM_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, connection, LITTLE_ENDIAN)
  view.setUint32(8, watch ? ITEM_WATCH : 0, LITTLE_ENDIAN)
  view.setUint32(12, requests, LITTLE_ENDIAN)
  return bytes
}

/** The connection's number at the start of an item, and of what a connection is given back with. */
export function connectionIn(bytes: Uint8Array): bigint | undefined {
  if (bytes.byteLength < NUMBER_LENGTH) return undefined
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, LITTLE_ENDIAN)
}

/** What a connection is given back with behind its number: bytes that were read of it and not served. */
export function receivedIn(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(NUMBER_LENGTH)
}

/** The bytes that a knock carries. */
export function encodeKnock(secret: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(KNOCK_MAGIC, 'latin1'), secret])
}

/** Takes messages out of a stream. Keeps at most one that is not complete. */
export class ShimMessageDecoder {
  #rest: Uint8Array = new Uint8Array(0)

  /** The messages that are complete with these bytes. Throws {@link PreloadError} (`protocol`) for what no shim sends. */
  decode(chunk: Uint8Array): ShimMessage[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const messages: ShimMessage[] = []
    for (let message = decodeOne(bytes); message !== undefined; message = decodeOne(bytes)) {
      messages.push(message)
      bytes = bytes.subarray(SHIM_MESSAGE_LENGTH + message.bytes.length)
    }
    this.#rest = bytes.slice()
    return messages
  }
}

function decodeOne(bytes: Uint8Array): ShimMessage | undefined {
  if (bytes.length < SHIM_MESSAGE_LENGTH) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const number = view.getUint32(0, LITTLE_ENDIAN)
  const type = shimMessageTypes[number as keyof typeof shimMessageTypes]
  const length = view.getUint32(4, LITTLE_ENDIAN)
  if (type === undefined || length > (type === 'ask' ? MAXIMUM_HEAD_LENGTH : 0)) {
    throw new PreloadError(
      'protocol',
      `a process of the server program sent a message of type ${number}, ${length} bytes`,
    )
  }
  if (bytes.length < SHIM_MESSAGE_LENGTH + length) return undefined
  return {
    type,
    connection: view.getBigUint64(8, LITTLE_ENDIAN),
    value: view.getUint32(16, LITTLE_ENDIAN),
    requests: view.getUint32(20, LITTLE_ENDIAN),
    bytes: bytes.subarray(SHIM_MESSAGE_LENGTH, SHIM_MESSAGE_LENGTH + length),
  }
}
