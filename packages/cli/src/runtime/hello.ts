import { type HelloMessage, type MacAddress, PROTOCOL_VERSION } from '@xoffload/core'

/** What this process says of itself on every control channel. */
export function helloOf(self: {
  readonly host: string
  readonly mac: MacAddress
  readonly maximumHandoffs: number
}): HelloMessage {
  const instance = crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n
  return { type: 'hello', protocolVersion: PROTOCOL_VERSION, instance, ...self }
}
