import { Elysia } from 'elysia'
import { models } from '../schemas.ts'

/** An Elysia application for some routes, with the API's schemas. What a schema does not name is an error: it is not cut out in silence. */
export function plugin() {
  return new Elysia({ normalize: false }).model(models)
}
