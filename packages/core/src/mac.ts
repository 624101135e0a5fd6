import { CodecError } from './errors.ts'

/** An Ethernet address (IEEE 802 MAC-48). */
export class MacAddress {
  /** Six bytes in transmission order. Not to be changed. */
  readonly bytes: Uint8Array

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  /** Parses `02:00:5e:10:00:01`. Throws {@link CodecError} for anything else. */
  static parse(text: string): MacAddress {
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
      throw new CodecError(`"${text}" is no MAC address: six pairs of hexadecimal digits with colons are expected`)
    }
    return new MacAddress(Uint8Array.from(text.split(':'), (pair) => Number.parseInt(pair, 16)))
  }

  /** Copies six bytes. Throws {@link CodecError} when there are not six. */
  static from(bytes: Uint8Array): MacAddress {
    if (bytes.length !== 6) throw new CodecError(`a MAC address has 6 bytes, these are ${bytes.length}`)
    return new MacAddress(bytes.slice())
  }

  equals(other: MacAddress): boolean {
    return this.bytes.every((byte, index) => byte === other.bytes[index])
  }

  toString(): string {
    return Array.from(this.bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':')
  }
}
