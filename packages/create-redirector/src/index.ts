export * from './create.ts'
