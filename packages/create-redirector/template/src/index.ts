export * from './card.ts'
export * from './redirector.ts'
