export type { Addresses, DeviceUnderTest, NetworkUnderTest, RedirectorRequest } from './device.ts'
export { ConformanceFailure } from './failure.ts'
export {
  type FrameFields,
  type FrameReading,
  readdressed,
  readFrame,
  reversed,
  TCP,
  tcpFrame,
  withHopLimit,
} from './frames.ts'
export * from './report.ts'
export type { Limits } from './scene.ts'
export * from './suite.ts'
