export * from './tc-redirector.ts'
