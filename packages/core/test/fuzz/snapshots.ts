import fc from 'fast-check'
import { CodecError, decodeSnapshot, encodeSnapshot, snapshotLength, type TcpSnapshot } from '../../src/index.ts'
import { snapshot } from '../support/arbitraries.ts'
import { corpusOf, type FuzzTarget, must, mustEqualBytes, mutated, resultOrRefusal } from '../support/fuzz/index.ts'

const corpus = corpusOf((seed) => fc.sample(snapshot, { seed, numRuns: 64 }).map(encodeSnapshot))

/** Of queues, in bytes: most of the valid ones are about as long. */
const LIMIT = 5

/** One snapshot has one encoding, so that what is decoded is what is encoded again. */
export const snapshots: FuzzTarget = {
  name: 'snapshot',
  generate: (random) => mutated(random, corpus(random)),
  check(input) {
    const decoded = resultOrRefusal(() => decodeSnapshot(input), CodecError)
    const limited = resultOrRefusal(() => decodeSnapshot(input, { maximumQueueLength: LIMIT }), CodecError)
    if (decoded instanceof CodecError) {
      must(limited instanceof CodecError, 'a lower limit lets more pass')
      return
    }
    must(snapshotLength(decoded) === input.length, 'the length of a snapshot is that of its encoding')
    mustEqualBytes(encodeSnapshot(decoded), input, 'encoded again')
    mustBeInRange(decoded)
    const { send, receive } = decoded
    const longest = Math.max(send.sent.length, send.unsent.length, receive.queue.length)
    must(limited instanceof CodecError === longest > LIMIT, 'the limit of queues is kept, and nothing else')
  },
}

/** What the kernel takes (RFC 7323; tcp_repair_set_window in net/ipv4/tcp.c), said once more. */
function mustBeInRange({ options, window }: TcpSnapshot): void {
  const { maximumSegmentSize, windowScale } = options
  must(maximumSegmentSize >= 1 && maximumSegmentSize <= 65_535, `a maximum segment size of ${maximumSegmentSize}`)
  must((windowScale?.send ?? 0) <= 14 && (windowScale?.receive ?? 0) <= 14, 'a window scale above 14')
  const { sendWindow, maximumWindow, receiveWindow } = window
  must(Math.max(maximumWindow, receiveWindow) <= 65_535 * 2 ** 14, 'a window that no segment can express')
  must(sendWindow <= maximumWindow, 'a window above its maximum')
}
