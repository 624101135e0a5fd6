import { FormatRegistry, type SchemaOptions, type TArray, type TInteger, type TString, Type } from '@sinclair/typebox'
import { hostNamePattern, maximumNameLength } from '../certificates/name.ts'
import { endpointOf, isUnspecified, parseEndpoint } from './endpoint.ts'

declare module '@sinclair/typebox' {
  interface SchemaOptions {
    /** What a value must be, in words that follow "expected": for errors and for the reference. */
    expected?: string
  }
}

// The registry belongs to the whole process, so the names carry ours.
FormatRegistry.Set('xoffload-address', (text) => {
  const endpoint = endpointOf(text, 1)
  return endpoint !== undefined && !isUnspecified(endpoint)
})
FormatRegistry.Set('xoffload-listen', (text) => parseEndpoint(text) !== undefined)
FormatRegistry.Set('xoffload-connect', (text) => {
  const endpoint = parseEndpoint(text)
  return endpoint !== undefined && !isUnspecified(endpoint)
})

/** A host's name, as in its certificate. */
export function hostName(description: string): TString {
  const expected = `a host name: at most ${maximumNameLength} letters, digits, "-", "_" and "."`
  return Type.String({ pattern: hostNamePattern, maxLength: maximumNameLength, description, expected })
}

/** A network device (dev_valid_name in net/core/dev.c). */
export function device(description: string): TString {
  const expected = 'the name of a network device, 1 to 15 characters'
  return Type.String({ pattern: '^(?!\\.{1,2}$)[^\\s/:]{1,15}$', description, expected })
}

/** An IPv4 or IPv6 address that can be connected to. */
export function address(description: string, options: SchemaOptions = {}): TString {
  return Type.String({ format: 'xoffload-address', description, expected: 'an IPv4 or IPv6 address', ...options })
}

/** A TCP port. */
export function port(description: string): TInteger {
  return Type.Integer({ minimum: 1, maximum: 65_535, description })
}

/** An address and a port to listen on. */
export function listen(description: string): TString {
  const expected = 'an address and a port, such as "192.0.2.1:7900" or "[2001:db8::1]:7900"'
  return Type.String({ format: 'xoffload-listen', description, expected })
}

/** An address and a port to connect to. */
export function connect(description: string): TString {
  const expected = 'an address and a port to connect to, such as "192.0.2.1:7900" or "[2001:db8::1]:7900"'
  return Type.String({ format: 'xoffload-connect', description, expected })
}

/** A file, relative to the configuration file's folder. */
export function file(description: string): TString {
  return Type.String({ minLength: 1, description, expected: 'the path of a file' })
}

/** A whole number with a default. */
export function count(description: string, minimum: number, maximum: number, standard: number): TInteger {
  return Type.Integer({ minimum, maximum, default: standard, description })
}

/** A list with at least one entry. */
export function atLeastOne<T extends TString>(items: T, description: string): TArray<T> {
  return Type.Array(items, { minItems: 1, description })
}

/** What is written to the log. */
export const logLevel = Type.Union([Type.Literal('errors'), Type.Literal('info'), Type.Literal('handoffs')], {
  default: 'info',
  description:
    '`errors` only; `info`: also start, stop and control channels; `handoffs`: also each handoff with its times.',
})
