/** What this package sends is byte for byte what `tc` sends for the same filter. */
import { expect, setDefaultTimeout, test } from 'bun:test'
import { requestLength, type TcRequest, writeRequest } from '../../src/netlink/tc/index.ts'
import { cases } from '../tc/cases.ts'
import { sentByTc } from '../tc/oracle.ts'

setDefaultTimeout(60_000)

const NLM_F_DUMP = 0x300

for (const { tc, request } of cases) {
  test(`tc ${tc}`, async () => {
    const theirs = await sentByTc(tc)
    expect(rows(written(request, theirs))).toEqual(rows(theirs))
  })
}

test('the oracle tells filters apart', async () => {
  const [{ tc, request }] = cases as [(typeof cases)[0]]
  const theirs = await sentByTc(tc.replace('02:00:00:00:00:01', '02:00:00:00:00:09'))
  expect(rows(written(request, theirs))).not.toEqual(rows(theirs))
})

/** The request as a message with the sequence number of the other one. */
function written(request: TcRequest, other: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(requestLength(request))
  const sequence = new DataView(other.buffer).getUint32(8, true)
  const isDump = (request.flags & NLM_F_DUMP) === NLM_F_DUMP
  expect(writeRequest(bytes, 0, request, sequence, !isDump)).toBe(bytes.length)
  return bytes
}

/** 16 bytes a row, for a message that shows where two differ. */
function rows(bytes: Uint8Array): string[] {
  return Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) =>
    bytes.subarray(16 * row, 16 * row + 16).toHex(),
  )
}
