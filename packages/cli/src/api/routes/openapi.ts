import { type AnyElysia, Elysia } from 'elysia'
import { openApiDocument } from '../openapi.ts'
import { openApiPage } from '../openapi-page.ts'

/** Where the description of the API is; it has no secrets and needs no token. */
export const OPENAPI_PATHS: readonly string[] = ['/openapi', '/openapi.json']

/** The document and a page of it that needs nothing but itself: neither scripts nor anything from elsewhere. */
export function openApiRoutes(described: AnyElysia, { withToken }: { withToken: boolean }) {
  const document = () => openApiDocument(described, { withToken })
  return new Elysia()
    .get('/openapi.json', () => Response.json(document()), { detail: { hide: true } })
    .get(
      '/openapi',
      () =>
        new Response(openApiPage(document()), {
          headers: {
            'content-type': 'text/html; charset=utf-8',
            'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
          },
        }),
      { detail: { hide: true } },
    )
}
