import type { Socket } from 'bun'
import type { RampPlan } from './plan.ts'
import { RampReader, RampWriter } from './stream.ts'

/** Where a ramp connection stands: what its origin tells its target. */
export interface RampProgress {
  readonly plan: RampPlan
  readonly downloaded: number
  readonly uploaded: number
}

export function encodeProgress({ plan, downloaded, uploaded }: RampProgress): Uint8Array {
  return new Uint8Array(new Uint32Array([plan.upload, plan.download, plan.moveAt, downloaded, uploaded]).buffer)
}

export function decodeProgress(bytes: Uint8Array): RampProgress {
  const [upload = 0, download = 0, moveAt = 0, downloaded = 0, uploaded = 0] = new Uint32Array(
    Uint8Array.from(bytes).buffer,
  )
  return { plan: { upload, download, moveAt }, downloaded, uploaded }
}

/** The serving side of one ramp connection, at its origin or at its target. */
export class RampConnection {
  readonly plan: RampPlan
  readonly #writer: RampWriter
  readonly #reader: RampReader
  #limit: number

  /** Writes the download up to `limit`. */
  constructor(socket: Socket<unknown>, { plan, downloaded, uploaded }: RampProgress, limit: number) {
    this.plan = plan
    this.#writer = new RampWriter(socket, downloaded)
    this.#reader = new RampReader(uploaded)
    this.#limit = limit
  }

  get progress(): RampProgress {
    return { plan: this.plan, downloaded: this.#writer.position, uploaded: this.#reader.position }
  }

  /** Writes what the socket takes. True when everything up to the limit is written. */
  write(): boolean {
    return this.#writer.writeUpTo(this.#limit)
  }

  /** Writes so many bytes beyond the limit. Throws when the socket does not take them. */
  writeMore(bytes: number): void {
    this.#limit += bytes
    if (!this.write()) throw new Error(`the socket did not take ${bytes} bytes more`)
  }

  /** Throws a RampError when the upload is not the ramp. */
  read(chunk: Uint8Array): void {
    this.#reader.take(chunk)
  }

  /** Both directions are at their end. */
  get complete(): boolean {
    return this.#writer.position === this.plan.download && this.#reader.position === this.plan.upload
  }
}
