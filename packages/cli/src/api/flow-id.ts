import { CodecError, FlowKey, formatEndpoint } from '@xoffload/core'
import { parseEndpoint } from '../config/endpoint.ts'

/**
 * A flow in the API and on the command line: client and service joined by a hyphen, `192.0.2.7:40312-198.51.100.1:80` or
 * `[2001:db8::7]:40312-[2001:db8::1]:80`. Other than the text in the log, it means nothing to a shell.
 */
export function flowId({ client, service }: FlowKey): string {
  return `${formatEndpoint(client)}-${formatEndpoint(service)}`
}

/** Parses {@link flowId}'s text, and that of the log, which has `>` in place of the hyphen. Undefined for anything else. */
export function parseFlowId(text: string): FlowKey | undefined {
  const [first, second, ...rest] = text.split(/[->]/)
  if (first === undefined || second === undefined || rest.length > 0) return undefined
  const [client, service] = [parseEndpoint(first), parseEndpoint(second)]
  if (client === undefined || service === undefined) return undefined
  try {
    return FlowKey.of(client, service)
  } catch (error) {
    // Addresses of different families.
    if (error instanceof CodecError) return undefined
    throw error
  }
}
