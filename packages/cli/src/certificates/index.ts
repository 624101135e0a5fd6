export * from './authority.ts'
export * from './files.ts'
export * from './name.ts'
