import { Kind, OptionalKind, type TObject, type TSchema } from '@sinclair/typebox'
import { expectation } from './check.ts'
import { gatewaySchema } from './gateway-schema.ts'
import type { ConfigKind } from './load.ts'
import { serverSchema } from './server-schema.ts'

/** All keys of a configuration file as a table in Markdown, made from the schema. */
export function configReference(kind: ConfigKind): string {
  const rows = rowsOf(kind === 'gateway' ? gatewaySchema : serverSchema, '')
  return ['| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows, ''].join('\n')
}

function rowsOf(schema: TObject, prefix: string): string[] {
  return Object.entries(schema.properties).flatMap(([name, property]) => {
    const key = `${prefix}${name}`
    if (property[Kind] === 'Object') return rowsOf(property as TObject, `${key}.`)
    if (property[Kind] !== 'Array') return [row(key, property)]
    if (property.items[Kind] === 'Object') return rowsOf(property.items, `${key}[].`)
    return [row(`${key}[]`, { ...property, expected: expectation(property.items) })]
  })
}

function row(key: string, schema: TSchema): string {
  const standard =
    schema.default === undefined ? (schema[OptionalKind] === 'Optional' ? '' : 'required') : `\`${schema.default}\``
  return `| \`${key}\` | ${cell(expectation(schema))} | ${standard} | ${cell(schema.description ?? '')} |`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
