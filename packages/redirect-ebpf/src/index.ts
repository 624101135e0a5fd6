export { DEFAULT_PINS } from './pins.ts'
export * from './tc-redirector.ts'
