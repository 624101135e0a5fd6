import type { FlowKey } from '../flow.ts'
import type { ErrorListener, RuleTable } from '../ports.ts'
import type { Rule } from '../redirector.ts'
import { errorText } from './error-text.ts'

/** How a run calls its ports. An operation that throws has failed like one that rejects; why is given as a text for messages. */
export class RunPorts {
  /** For reports. A target learns it from the offer. */
  flow: FlowKey | undefined
  readonly #redirector: RuleTable
  readonly #onError: ErrorListener
  readonly #controller = new AbortController()

  constructor(redirector: RuleTable, onError: ErrorListener, flow?: FlowKey) {
    this.#redirector = redirector
    this.#onError = onError
    this.flow = flow
  }

  /** Puts a rule, which {@link cancel} aborts. */
  put(rule: Rule, done: () => void, failed: (text: string) => void): void {
    operate(
      () => this.#redirector.put(rule, { signal: this.#controller.signal }),
      done,
      (error) => failed(errorText(error)),
    )
  }

  /** Aborts the puts that are being carried out. */
  cancel(): void {
    this.#controller.abort()
  }

  /** Removes the flow's rule, or puts `rule` in its place. Nothing aborts that, and a failure is reported, too. */
  unlock(flow: FlowKey, done: () => void, failed: (text: string) => void, rule?: Rule): void {
    operate<unknown>(
      () => (rule === undefined ? this.#redirector.remove(flow) : this.#redirector.put(rule)),
      done,
      (error) => {
        this.report(error, 'unlock')
        failed(errorText(error))
      },
    )
  }

  /** A call that the next step depends on. */
  call(call: () => void, done: () => void, failed: (text: string) => void): void {
    try {
      call()
    } catch (error) {
      failed(errorText(error))
      return
    }
    done()
  }

  /** A call that no step depends on: a failure is reported. */
  attempt(step: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.report(error, step)
    }
  }

  /** Tells of an error that nobody waits for. */
  report(error: unknown, step: string): void {
    this.#onError(error, { ...(this.flow && { flow: this.flow }), step })
  }
}

function operate<T>(operation: () => Promise<T>, done: () => void, failed: (error: unknown) => void): void {
  try {
    operation().then(done, failed)
  } catch (error) {
    failed(error)
  }
}
