export { makePlan, type Plan } from './plan.ts'
export { Random } from './random.ts'
export * from './sabotage.ts'
export { type SimulationOptions, type SimulationReport, simulate } from './simulation.ts'
