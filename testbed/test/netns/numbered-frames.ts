import { inNetworkNamespace, PacketSocket, Rtnetlink } from '@xoffload/linux'
import type { Host } from '@xoffload/testbed'

/** IEEE 802 Local Experimental Ethertype 1: no stack answers these frames. */
const ETHERTYPE = 0x88b5
const HEADER_LENGTH = 14

/** Sends numbered frames from one host to another, and tells which of them arrive, in which order and when. */
export class NumberedFrames implements Disposable {
  readonly #sender: PacketSocket
  readonly #receiver: PacketSocket
  readonly #frame = new Uint8Array(HEADER_LENGTH + 46)
  readonly #sent: number[] = []
  /** The numbers of the frames that arrived, in their order. */
  readonly arrived: number[] = []
  /** How long each of these took, in milliseconds. */
  readonly latencies: number[] = []

  constructor(from: Host, to: Host) {
    this.#sender = open(from)
    this.#receiver = open(to)
    this.#frame.set(to.mac.bytes, 0)
    this.#frame.set(from.mac.bytes, 6)
    new DataView(this.#frame.buffer).setUint16(12, ETHERTYPE)
  }

  send(count: number): void {
    for (let index = 0; index < count; index++) {
      new DataView(this.#frame.buffer).setUint32(HEADER_LENGTH, this.#sent.length)
      this.#sent.push(performance.now())
      this.#sender.write(this.#frame)
      // The receiver's clock is read when its socket is.
      this.#receive()
    }
  }

  /** Receives until `enough` holds. Throws after five seconds. */
  receiveUntil(enough: () => boolean): void {
    const deadline = performance.now() + 5000
    while (!enough()) {
      this.#receive()
      if (performance.now() > deadline) throw new Error(`only ${this.arrived.length} frames arrived`)
    }
  }

  /** Receives for some milliseconds, to see that nothing more comes. */
  receiveFor(milliseconds: number): void {
    const deadline = performance.now() + milliseconds
    while (performance.now() < deadline) this.#receive()
  }

  #receive(): void {
    for (let frame = this.#receiver.read(); frame !== undefined; frame = this.#receiver.read()) {
      const view = new DataView(frame.buffer, frame.byteOffset)
      if (view.getUint16(12) !== ETHERTYPE) continue
      const number = view.getUint32(HEADER_LENGTH)
      this.arrived.push(number)
      this.latencies.push(performance.now() - (this.#sent[number] ?? 0))
    }
  }

  [Symbol.dispose](): void {
    this.#sender.close()
    this.#receiver.close()
  }
}

function open(host: Host): PacketSocket {
  return inNetworkNamespace(host.namespacePath, () => {
    using rtnetlink = new Rtnetlink()
    return PacketSocket.open({ device: rtnetlink.link(host.device)?.index ?? 0, ignoreOutgoing: true })
  })
}
