import { GuestError } from './errors.ts'
import { encodeFrame, type Frame, frameDecoder, type frameType } from './frame.ts'
import { limited, type Machine, machineTimeout } from './machine.ts'

/** What a frame about a command is given to. */
export type FrameListener = (frame: Frame) => void

/** The connection with the guest's first process. Ends when the machine does. */
export class Channel {
  readonly #machine: Machine
  readonly #listeners = new Map<number, FrameListener>()
  /** Rejects when no more frames can come. */
  readonly lost: Promise<never>

  constructor(machine: Machine) {
    this.#machine = machine
    const broken = Promise.withResolvers<never>()
    const decode = frameDecoder()
    machine.port.on('data', (bytes: Uint8Array) => {
      try {
        for (const frame of decode(bytes)) this.#listeners.get(frame.id)?.(frame)
      } catch (error) {
        broken.reject(machine.failure(`The guest does not speak the protocol: ${(error as Error).message}`))
      }
    })
    machine.port.on('error', (error) => broken.reject(machine.failure(`The guest's port: ${error.message}`)))
    const ended = machine.ended.then(async (how) => {
      await machine.console.ended
      throw machine.failure(how === 'ended with exit code 0' ? 'The guest ended by itself' : `QEMU ${how}`)
    })
    this.lost = Promise.race([ended, broken.promise])
    this.lost.catch(() => undefined)
  }

  send(type: number, id: number, payload: Uint8Array = new Uint8Array()): void {
    this.#machine.port.write(encodeFrame({ type, id, payload }))
  }

  /** Gives all frames with this id to `listener`. Returns what ends that. */
  listen(id: number, listener: FrameListener): () => void {
    if (this.#listeners.has(id)) throw new GuestError(`Two commands of a guest have the id ${id}`)
    this.#listeners.set(id, listener)
    return () => this.#listeners.delete(id)
  }

  /** Resolves when a frame of this type, about no command, has come. */
  async expect(type: (typeof frameType)['ready' | 'mounted'], timeout = machineTimeout): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = this.listen(0, (frame) => frame.type === type && resolve())
    try {
      await limited(Promise.race([promise, this.lost]), 'The guest is not up', timeout)
    } catch (error) {
      const isLate = error instanceof GuestError && error.console === ''
      throw isLate ? this.#machine.failure(error.message) : error
    } finally {
      stop()
    }
  }
}
