export * from './errors.ts'
export { Guest, type GuestOptions } from './guest.ts'
export type { GuestRunOptions, OutputStream } from './guest-command.ts'
export { cardKnobs, type NicCounters, type NicKnobs, type NicPort, nicCounters, VirtualNic } from './virtual-nic.ts'
