export type { LinkDirection, LinkFaultCounters, LinkFaultSettings } from './layout.ts'
export { LinkFaults } from './link-faults.ts'
