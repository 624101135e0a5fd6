export * from './memory-device.ts'
export * from './nic-model.ts'
export * from './profiles.ts'
