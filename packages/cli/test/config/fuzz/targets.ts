import { corpusOf, type FuzzTarget, must, mutated, resultOrRefusal } from '../../../../core/test/support/fuzz/index.ts'
import { ConfigError } from '../../../src/config/index.ts'
import { type ConfigKind, checkConfig } from '../../../src/config/load.ts'
import { gatewayToml, serverToml } from '../support.ts'
import { PEM_MARK, SECRET, structure } from './structures.ts'

const kinds: readonly ConfigKind[] = ['gateway', 'server']
/** The folder that paths are relative to. */
const file = import.meta.path

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

const corpus = corpusOf(() => [gatewayToml, serverToml].map((text) => encoder.encode(text)))
const words = [
  ...[
    '\n',
    '[',
    ']',
    '[[',
    '[[servers]]\n',
    '[limits]\n',
    '=',
    '"',
    "'",
    '"""',
    "'''",
    '#',
    '\\u',
    '\\',
    '.',
    ',',
    '{',
    '}',
  ],
  ...[
    'a.b.c = 1\n',
    '__proto__.x = 1\n',
    'constructor = 1\n',
    '1979-05-27T07:32:00Z',
    '0x',
    '1e999',
    'inf',
    'nan',
    '\0',
  ],
  ...['[a]\n[a.b]\n[a]\n', 'x = [', 'x = {y = '],
].map((word) => encoder.encode(word))

/** A configuration file. Whatever is in it, it is accepted or refused with a ConfigError of a sensible length. */
const configurations: FuzzTarget = {
  name: 'config',
  share: 0.2,
  generate: (random) => (random.oneIn(2) ? encoder.encode(structure(random)) : mutated(random, corpus(random), words)),
  check(input) {
    const value = parsed(input)
    if (value === undefined) return
    const text = JSON.stringify(value) ?? 'null'
    for (const kind of kinds) {
      const config = resultOrRefusal(() => checkConfig(kind, file, JSON.parse(text)), ConfigError)
      if (config instanceof ConfigError) mustBeReadable(config, value, input.length)
      else
        must(Bun.deepEquals(config, checkConfig(kind, file, JSON.parse(text))), 'the same file, another configuration')
    }
    const polluted = Object.keys(Object.prototype)
    for (const key of polluted) Reflect.deleteProperty(Object.prototype, key)
    must(polluted.length === 0, 'a file has changed the prototype of all objects')
  },
}

/** What the file's text says, undefined when it is no text, or neither JSON nor TOML. */
function parsed(input: Uint8Array): unknown {
  try {
    const text = decoder.decode(input)
    return text.startsWith('{') ? JSON.parse(text) : Bun.TOML.parse(text)
  } catch {
    // The parsers are Bun's. What they throw becomes a ConfigError, see src/config/read.ts; a crash or a hang does not.
    return undefined
  }
}

function mustBeReadable({ message, problems }: ConfigError, value: unknown, length: number): void {
  must(problems.length > 0 && problems.length <= 100, `${problems.length} problems`)
  must(message.length <= 64 * 1024 + 8 * length, `an error of ${message.length} characters`)
  const unmarked = strings(value).some((text) => text.includes(SECRET) && !text.includes(PEM_MARK))
  must(unmarked || !message.includes(SECRET), 'an error with a key in it')
}

/** All keys and all strings. */
function strings(value: unknown): string[] {
  const found: string[] = []
  const waiting = [value]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next === 'string') found.push(next)
    else if (typeof next === 'object' && next !== null) {
      if (!Array.isArray(next)) found.push(...Object.keys(next))
      waiting.push(...Object.values(next).filter((each) => each !== undefined))
    }
  }
  return found
}

/** The decoders of this package. */
export const cliTargets: readonly FuzzTarget[] = [configurations]
