export { mutated } from './mutate.ts'
export { hashOf, Random } from './random.ts'
export { FuzzFailure, fuzz, fuzzInput, fuzzInTest, replay } from './run.ts'
export * from './target.ts'
