export * from './errors.ts'
export * from './options.ts'
export * from './server.ts'
export { SharedBody, type SharedBodyOptions } from './shared-body.ts'
