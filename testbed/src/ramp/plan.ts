/** What one connection of a ramp run does, agreed by client and servers: the client sends it as the connection's first bytes. */
export interface RampPlan {
  /** Bytes that the client sends after the plan. */
  readonly upload: number
  /** Bytes that the client receives. */
  readonly download: number
  /** How many bytes of the download are written before the connection moves. */
  readonly moveAt: number
}

/** The length of an encoded plan in bytes. */
export const PLAN_LENGTH = 12

export function encodePlan(plan: RampPlan): Uint8Array {
  return new Uint8Array(new Uint32Array([plan.upload, plan.download, plan.moveAt]).buffer)
}

export function decodePlan(bytes: Uint8Array): RampPlan {
  const [upload = 0, download = 0, moveAt = 0] = new Uint32Array(Uint8Array.from(bytes.subarray(0, PLAN_LENGTH)).buffer)
  return { upload, download, moveAt }
}
