import type { OpenApiDocument, OpenApiOperation } from './openapi.ts'

const style = `
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color-scheme: light dark }
h2 { font-size: 1.1rem; margin: 2rem 0 0.25rem } h3 { font-size: 1rem; margin: 1.5rem 0 0.25rem }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { overflow-x: auto; padding: 0.5rem; border: 1px solid #8884 }
table { border-collapse: collapse } td, th { padding: 0.1rem 1rem 0.1rem 0; text-align: left; vertical-align: top }
summary { cursor: pointer }`

/** An OpenAPI document as a page to read: HTML without scripts, so that it needs nothing from elsewhere. */
export function openApiPage(document: OpenApiDocument): string {
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => operationHtml(method, path, operation)),
  )
  const schemas = Object.entries(document.components.schemas).map(
    ([name, schema]) => `<h3 id="${escapeHtml(name)}">${escapeHtml(name)}</h3>${schemaHtml(schema)}`,
  )
  return [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escapeHtml(document.info.title)}</title>`,
    `<style>${style}</style><h1>${escapeHtml(document.info.title)}</h1><p>${escapeHtml(document.info.description)}`,
    '<p>The same for programs: <a href="/openapi.json">openapi.json</a>',
    ...operations,
    '<h2>Schemas</h2>',
    ...schemas,
    '</html>\n',
  ].join('\n')
}

function operationHtml(method: string, path: string, operation: OpenApiOperation): string {
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: place, schema }) =>
      `<tr><td><code>${escapeHtml(name)}</code><td>${escapeHtml(place)}<td>${escapeHtml(descriptionOf(schema))}`,
  )
  const body = operation.requestBody === undefined ? [] : contentHtml('Body', operation.requestBody.content)
  const responses = Object.entries(operation.responses ?? {}).flatMap(([status, { content = {} }]) =>
    contentHtml(status, content),
  )
  return [
    `<h2><code>${method.toUpperCase()} ${escapeHtml(path)}</code></h2>`,
    `<p>${escapeHtml(operation.summary ?? '')}${operation.description === undefined ? '' : `<br>${escapeHtml(operation.description)}`}`,
    ...(parameters.length === 0 ? [] : ['<table>', ...parameters, '</table>']),
    '<table>',
    ...body,
    ...responses,
    '</table>',
  ].join('\n')
}

function contentHtml(title: string, content: Readonly<Record<string, { readonly schema: unknown }>>): string[] {
  return Object.entries(content).map(
    ([type, { schema }]) => `<tr><td>${title}<td><code>${escapeHtml(type)}</code><td>${schemaHtml(schema)}`,
  )
}

function schemaHtml(schema: unknown): string {
  const name = referenceOf(schema)
  if (name !== undefined) return `<a href="#${escapeHtml(name)}">${escapeHtml(name)}</a>`
  const text = escapeHtml(JSON.stringify(schema, undefined, 2))
  return `<details><summary>${escapeHtml(descriptionOf(schema)) || 'Schema'}</summary><pre>${text}</pre></details>`
}

function referenceOf(schema: unknown): string | undefined {
  const reference = (schema as { $ref?: unknown } | undefined)?.$ref
  return typeof reference === 'string' ? reference.slice(reference.lastIndexOf('/') + 1) : undefined
}

function descriptionOf(schema: unknown): string {
  const description = (schema as { description?: unknown } | undefined)?.description
  return typeof description === 'string' ? description : ''
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
