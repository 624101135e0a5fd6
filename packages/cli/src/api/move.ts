import type { FlowKey } from '@xoffload/core'
import type { ApiContext } from './context.ts'
import { flowId } from './flow-id.ts'
import { RequestError } from './problem.ts'
import type { OutcomeJson } from './schemas.ts'
import { outcomeJson } from './views.ts'

/** Milliseconds. */
const STANDARD_TIMEOUT = 30_000

/**
 * Orders a move and waits for its outcome. The order is given up when its time is over (504), when the caller goes away, and when the API
 * ends (503).
 */
export async function moveFlow(
  { operations, signal }: ApiContext,
  flow: FlowKey,
  { server, timeout = STANDARD_TIMEOUT }: { server: string; timeout?: number },
  request: Request,
): Promise<OutcomeJson> {
  const timer = AbortSignal.timeout(timeout)
  try {
    const outcome = await operations.move(flow, server, AbortSignal.any([timer, request.signal, signal]))
    return outcomeJson(outcome)
  } catch (error) {
    if (signal.aborted) throw new RequestError(503, 'closing', 'the gateway ends', { cause: error })
    if (request.signal.aborted) throw new RequestError(499, 'given-up', 'the caller has gone away', { cause: error })
    if (!timer.aborted) throw error
    const message = `the flow ${flowId(flow)} came to no request boundary within ${timeout} ms: it stays where it is`
    throw new RequestError(504, 'timeout', message, { cause: error })
  }
}
