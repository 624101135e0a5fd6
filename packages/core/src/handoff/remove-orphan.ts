import type { FlowKey } from '../flow.ts'
import type { ErrorListener, RuleTable } from '../ports.ts'

/** Removes a rule that was put after its handoff had been given up. Nobody waits for it: `onError` hears of a failure. */
export function removeOrphan(redirector: RuleTable, flow: FlowKey, onError: ErrorListener): void {
  const report = (error: unknown): void => onError(error, { flow, step: 'unlock' })
  try {
    redirector.remove(flow).catch(report)
  } catch (error) {
    report(error)
  }
}
