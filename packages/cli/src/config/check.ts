import { Kind, type TObject, type TSchema } from '@sinclair/typebox'
import { type ValueError, ValueErrorType } from '@sinclair/typebox/errors'
import { Value } from '@sinclair/typebox/value'
import { type ConfigProblem, maximumProblems } from './error.ts'
import { nearest } from './suggest.ts'

/** Everything in `value` that is not as `schema` says, one problem per key. */
export function checkSchema(schema: TObject, value: unknown): ConfigProblem[] {
  const problems = new Map<string, ConfigProblem>()
  for (const error of Value.Errors(schema, value)) {
    const key = keyPath(error.path)
    // A missing key is reported twice: as missing, and as undefined.
    if (!problems.has(key)) problems.set(key, { key, text: describe(error, schema) })
    if (problems.size >= maximumProblems) break
  }
  return [...problems.values()]
}

/** What a value must be, in words that follow "expected". */
export function expectation(schema: TSchema): string {
  if (schema.expected !== undefined) return schema.expected
  switch (schema[Kind]) {
    case 'Integer':
      return `a whole number from ${schema.minimum} to ${schema.maximum}`
    case 'Union':
      return alternatives((schema.anyOf as TSchema[]).map((option) => JSON.stringify(option.const)))
    case 'Array':
      return schema.minItems === undefined ? 'a list' : `a list of at least ${schema.minItems}`
    case 'Object':
      return 'a table'
    default:
      return 'a string'
  }
}

/** How a found value is shown in an error. Key material that was put in place of a path is not. */
export function found(value: unknown): string {
  if (typeof value === 'string' && value.includes('-----BEGIN')) return 'PEM text: put it into a file and name the file'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'a table'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function describe(error: ValueError, root: TObject): string {
  if (error.type === ValueErrorType.ObjectAdditionalProperties) return unknownKey(error, root)
  const expected = expectation(error.schema)
  if (error.value === undefined) return `is missing: expected ${expected}`
  return `expected ${expected}, found ${found(error.value)}`
}

function unknownKey(error: ValueError, root: TObject): string {
  const known = Object.keys((error.schema as TObject).properties)
  const segments = pointerSegments(error.path)
  const word = segments.at(-1) ?? ''
  const candidate = nearest(word, known)
  if (candidate !== undefined) return `is no known key: did you mean "${candidate}"?`
  const elsewhere = allKeys(root, '').find((key) => key.endsWith(`.${word}`) || key === word)
  if (elsewhere !== undefined) return `is no known key here: did you mean "${elsewhere}"?`
  return `is no known key: expected ${alternatives(known)}`
}

/** The paths of all keys, lists as `servers[]`. */
function allKeys(schema: TObject, prefix: string): string[] {
  return Object.entries(schema.properties).flatMap(([name, property]) => {
    const key = prefix === '' ? name : `${prefix}.${name}`
    if (property[Kind] === 'Object') return [key, ...allKeys(property as TObject, key)]
    if (property[Kind] === 'Array' && property.items[Kind] === 'Object')
      return [key, ...allKeys(property.items, `${key}[]`)]
    return [key]
  })
}

function alternatives(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

/** A JSON pointer (RFC 6901) as a key in TOML: `/servers/1/control` is `servers[1].control`. */
function keyPath(pointer: string): string {
  let path = ''
  for (const segment of pointerSegments(pointer)) {
    if (/^\d+$/.test(segment) && path !== '') path += `[${segment}]`
    else path += `${path === '' ? '' : '.'}${/^[\w-]+$/.test(segment) ? segment : JSON.stringify(segment)}`
  }
  return path
}

function pointerSegments(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'))
}
