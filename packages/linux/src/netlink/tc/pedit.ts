import { MacAddress } from '@xoffload/core'
import { LinuxError } from '../../errno.ts'
import { ipAddressBytes, ipAddressText } from '../ip-address.ts'
import { type NetlinkBody, netlinkAttributes } from '../message.ts'
import { attributes, attributesInOrder, fields } from './attributes.ts'

/** A field of a packet that a pedit action sets, in the words of tc-pedit(8). */
export type HeaderEdit =
  | { readonly field: 'eth-source' | 'eth-destination'; readonly value: MacAddress }
  | { readonly field: 'ip4-source' | 'ip4-destination' | 'ip6-source' | 'ip6-destination'; readonly value: string }
  | {
      readonly field: 'ip4-ttl' | 'ip6-hop-limit' | 'tcp-source-port' | 'tcp-destination-port'
      readonly value: number
    }

type Field = HeaderEdit['field']

/** `enum pedit_header_type` (include/uapi/linux/tc_act/tc_pedit.h), the offset in that header, and the length, in bytes. */
const PLACES: Readonly<Record<Field, { readonly header: number; readonly offset: number; readonly length: number }>> = {
  'eth-destination': { header: 1, offset: 0, length: 6 },
  'eth-source': { header: 1, offset: 6, length: 6 },
  'ip4-ttl': { header: 2, offset: 8, length: 1 },
  'ip4-source': { header: 2, offset: 12, length: 4 },
  'ip4-destination': { header: 2, offset: 16, length: 4 },
  'ip6-hop-limit': { header: 3, offset: 7, length: 1 },
  'ip6-source': { header: 3, offset: 8, length: 16 },
  'ip6-destination': { header: 3, offset: 24, length: 16 },
  'tcp-source-port': { header: 4, offset: 0, length: 2 },
  'tcp-destination-port': { header: 4, offset: 2, length: 2 },
}

const PARAMETERS_EX = 4
const KEYS_EX = 5
const KEY_EX = 6
const KEY_EX_HEADER_TYPE = 1
const KEY_EX_COMMAND = 2
const COMMAND_SET = 0

/** `struct tc_pedit_sel` without its keys, and `struct tc_pedit_key`. */
const SELECTOR_LENGTH = 24
const KEY_LENGTH = 24
/** nkeys is a byte. */
const MAXIMUM_KEYS = 255

/** One 32-bit word of a header: the bits of `value` where `mask` is 0. */
interface Word {
  readonly header: number
  readonly offset: number
  readonly value: Uint8Array
  readonly mask: Uint8Array
}

/**
 * The options of a pedit action in its extended form, which is the only one that NICs offload. `verdict` is a TC_ACT_* code.
 * Throws {@link LinuxError} EINVAL.
 */
export function encodePedit(edits: readonly HeaderEdit[], verdict: number): NetlinkBody {
  const words = edits.flatMap(wordsOf)
  if (words.length > MAXIMUM_KEYS) throw invalid(`${words.length} words are edited where ${MAXIMUM_KEYS} is the most`)
  const selector = new Uint8Array(SELECTOR_LENGTH + KEY_LENGTH * words.length)
  const view = new DataView(selector.buffer)
  view.setInt32(8, verdict, true)
  selector[20] = words.length
  const extended = attributes()
  for (const [index, { header, offset, value, mask }] of words.entries()) {
    const start = SELECTOR_LENGTH + KEY_LENGTH * index
    selector.set(mask, start)
    selector.set(value, start + 4)
    view.setUint32(start + 8, offset, true)
    const key = attributes().attribute(KEY_EX_HEADER_TYPE, Uint8Array.of(header, 0))
    extended.nested(KEY_EX, key.attribute(KEY_EX_COMMAND, Uint8Array.of(COMMAND_SET, 0)))
  }
  return attributes().attribute(PARAMETERS_EX, selector).nested(KEYS_EX, extended)
}

/** The fields that a pedit action sets as a whole. Everything else that it does is left out. Throws {@link LinuxError} EBADMSG. */
export function decodePedit(options: Uint8Array): HeaderEdit[] {
  const parts = netlinkAttributes(options)
  const selector = parts.get(PARAMETERS_EX) ?? new Uint8Array()
  const count = selector.length < SELECTOR_LENGTH ? 0 : (selector[20] as number)
  const view = fields('TCA_PEDIT_PARMS_EX', selector, count === 0 ? 0 : SELECTOR_LENGTH + KEY_LENGTH * count)
  const headers = headerTypes(parts.get(KEYS_EX) ?? new Uint8Array())
  const bytes = new Map<string, number>()
  for (let index = 0; index < count; index++) {
    const header = headers[index]
    const start = SELECTOR_LENGTH + KEY_LENGTH * index
    if (header === undefined) continue
    for (let position = 0; position < 4; position++) {
      if (selector[start + position] !== 0) continue
      bytes.set(`${header}:${view.getUint32(start + 8, true) + position}`, selector[start + 4 + position] as number)
    }
  }
  return (Object.keys(PLACES) as Field[]).flatMap((field) => editFrom(field, bytes) ?? [])
}

/** The header type of every key that sets, undefined for one that adds. */
function headerTypes(keys: Uint8Array): (number | undefined)[] {
  const types: (number | undefined)[] = []
  for (const { type, value } of attributesInOrder(keys)) {
    if (type !== KEY_EX) continue
    const key = netlinkAttributes(value)
    types.push(key.get(KEY_EX_COMMAND)?.[0] === COMMAND_SET ? key.get(KEY_EX_HEADER_TYPE)?.[0] : undefined)
  }
  return types
}

function editFrom(field: Field, bytes: ReadonlyMap<string, number>): HeaderEdit | undefined {
  const { header, offset, length } = PLACES[field]
  const value = new Uint8Array(length)
  for (let index = 0; index < length; index++) {
    const byte = bytes.get(`${header}:${offset + index}`)
    if (byte === undefined) return undefined
    value[index] = byte
  }
  return decodeValue(field, value)
}

function decodeValue(field: Field, value: Uint8Array): HeaderEdit {
  switch (field) {
    case 'eth-source':
    case 'eth-destination':
      return { field, value: MacAddress.from(value) }
    case 'ip4-source':
    case 'ip4-destination':
    case 'ip6-source':
    case 'ip6-destination':
      return { field, value: ipAddressText(value) }
    default:
      return { field, value: value.reduce((number, byte) => 256 * number + byte, 0) }
  }
}

/** The words that an edit touches, the bytes outside the field masked. */
function wordsOf(edit: HeaderEdit): Word[] {
  const { header, offset, length } = PLACES[edit.field]
  const bytes = encodeValue(edit, length)
  const words: Word[] = []
  for (let word = offset & ~3; word < offset + length; word += 4) {
    const value = new Uint8Array(4)
    const mask = new Uint8Array(4)
    for (let position = 0; position < 4; position++) {
      const byte = bytes[word + position - offset]
      if (byte === undefined) mask[position] = 0xff
      else value[position] = byte
    }
    words.push({ header, offset: word, value, mask })
  }
  return words
}

function encodeValue({ field, value }: HeaderEdit, length: number): Uint8Array {
  if (value instanceof MacAddress) return value.bytes
  if (typeof value === 'string') {
    const bytes = ipAddressBytes(value)
    if (bytes.length !== length) throw invalid(`${field} is set to ${value}, an address of the other family`)
    return bytes
  }
  if (!Number.isInteger(value) || value < 0 || value >= 256 ** length) throw invalid(`${field} is set to ${value}`)
  return length === 1 ? Uint8Array.of(value) : Uint8Array.of(value >> 8, value & 0xff)
}

function invalid(what: string): LinuxError {
  return new LinuxError('pedit', 'EINVAL', what)
}
