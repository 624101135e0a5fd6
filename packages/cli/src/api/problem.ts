import { type ValueError, ValueErrorType } from '@sinclair/typebox/errors'
import { XoffloadError } from '@xoffload/core'
import { type ParseError, ValidationError } from 'elysia'
import { expectation, found } from '../config/check.ts'
import type { OrderRefusal } from '../gateway/operations.ts'
import { OrderError } from '../gateway/order-error.ts'

/** A request that is not carried out, with the HTTP status (RFC 9110 section 15) that says so. */
export class RequestError extends XoffloadError {
  readonly status: number

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.status = status
  }
}

const orderStatus: Readonly<Record<OrderRefusal, number>> = {
  'unknown-flow': 404,
  'unknown-server': 404,
  busy: 409,
  'no-target': 409,
  'server-down': 503,
}

/**
 * What the caller is told of an error. Of one that nobody foresaw only that there was one: it may quote anything, so the caller of
 * this function logs it (`unforeseen`).
 */
export function problemOf(error: unknown): { status: number; code: string; message: string; unforeseen: boolean } {
  if (error instanceof RequestError) {
    return { status: error.status, code: error.code, message: error.message, unforeseen: false }
  }
  if (error instanceof OrderError) {
    return { status: orderStatus[error.reason], code: error.reason, message: error.message, unforeseen: false }
  }
  if (error instanceof ValidationError && error.type !== 'response') {
    return { status: 400, code: 'invalid', message: describe(error), unforeseen: false }
  }
  const code = error instanceof Error && 'code' in error ? (error as ParseError).code : undefined
  if (code === 'NOT_FOUND') {
    return { status: 404, code: 'not-found', message: 'there is no such resource: see /openapi', unforeseen: false }
  }
  if (code === 'PARSE') {
    return { status: 400, code: 'invalid', message: 'the body is no JSON', unforeseen: false }
  }
  return { status: 500, code: 'internal', message: 'the gateway could not do it: see its log', unforeseen: true }
}

function describe(error: ValidationError): string {
  const value = error.valueError as ValueError | undefined
  const place = error.type === 'query' ? 'query' : error.type === 'params' ? 'path' : 'body'
  if (value === undefined || value.path === '') return `${place}: expected an object`
  const name = `${place}: ${value.path.slice(1).replaceAll('/', '.')}`
  if (value.type === ValueErrorType.ObjectAdditionalProperties) return `${name}: is not known here`
  const expected = expectation(value.schema)
  if (value.value === undefined) return `${name}: is missing: expected ${expected}`
  return `${name}: expected ${expected}, found ${found(value.value)}`
}
