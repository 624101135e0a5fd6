import type { HandoffRecord } from '../deployment/handoff-log.ts'
import { TestbedError } from '../errors.ts'
import { tool } from '../tools.ts'
import { caseNames, type Installation } from './installation.ts'

/** A response that came through a handoff, as curl saw it and as the gateway logged it. */
export interface FirstResponse {
  readonly url: string
  readonly status: number
  readonly bytes: number
  /** The whole request with its connection, microseconds. */
  readonly microseconds: number
  /** The server that says it answered (`x-served-by`). */
  readonly servedBy: string
  readonly handoff: HandoffRecord
}

/** What curl prints after the head of the response (man 1 curl, --write-out). */
const writeOut = '{"status":%{http_code},"bytes":%{size_download},"seconds":%{time_total},"port":%{local_port}}'

/** Fetches with curl on the client. Throws {@link TestbedError} when the response did not come from the server of the handoff. */
export async function fetchFirstResponse(
  { client, cases, handoffs }: Installation,
  size: number,
): Promise<FirstResponse> {
  const url = `${cases.find((each) => each.name === caseNames[1])?.origin}/bytes/${size}`
  const options = ['-sS', '-m', '5', '-D', '-', '-o', '/dev/null', '-w', writeOut]
  const { stdout } = await client.run([tool('curl'), ...options, url])
  const seen: { status: number; bytes: number; seconds: number; port: number } = JSON.parse(
    stdout.slice(stdout.lastIndexOf('{')),
  )
  const servedBy = /^x-served-by:\s*(\S+)/im.exec(stdout)?.[1]
  if (seen.status !== 200 || seen.bytes !== size || servedBy === undefined) {
    throw new TestbedError(`The first response is not as expected: ${stdout.trim()}`)
  }
  const handoff = await handoffs.of(client.ipv4, seen.port)
  if (handoff.server !== servedBy) {
    throw new TestbedError(
      `The connection was handed to ${handoff.server} (${handoff.outcome}), but ${servedBy} answered`,
    )
  }
  return { url, status: seen.status, bytes: seen.bytes, microseconds: seen.seconds * 1e6, servedBy, handoff }
}
