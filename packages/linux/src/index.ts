export * from './errno.ts'
