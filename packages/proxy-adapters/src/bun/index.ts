export * from './errors.ts'
export * from './options.ts'
export { SharedBody, type SharedBodyOptions } from './shared-body.ts'
export * from './server.ts'
