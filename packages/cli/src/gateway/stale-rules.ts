import { type Clock, type FlowKey, type ListedRule, PacedPass, type Rule } from '@xoffload/core'

/** How many rules are looked at in one step. */
const STEP = 1024
/** How long after a pass the next one begins, in milliseconds. */
const PAUSE = 60_000
/** The most suspects that are remembered. Those on top are found in a later pass. */
const MAXIMUM_SUSPECTS = 65_536

/** What {@link StaleRules} look at and what they do. */
export interface StaleRulesOptions {
  readonly list: () => AsyncIterable<ListedRule>
  readonly clock: Clock
  /** Whether something is known here of which the flow may have a rule. */
  readonly isJustified: (flow: FlowKey) => boolean
  /** Takes the rule of a flow away that has none by right. */
  readonly remove: (flow: FlowKey) => void
  /** A pass was given up. The next one begins after the usual pause. */
  readonly onError: (error: unknown) => void
}

/**
 * Finds the rules that nobody has removed, as when the redirector has failed to (invariant 8): it looks at all rules again and again, a few
 * at a time. What has no connection may just be coming or going, so a rule goes when it was found twice, a pass and its pause apart.
 */
export class StaleRules {
  readonly #options: StaleRulesOptions
  readonly #pass: PacedPass
  /** What the last pass has found, and what this one has found so far: rules by their flows. */
  #suspects = new Map<string, string>()
  #found = new Map<string, string>()

  constructor(options: StaleRulesOptions) {
    this.#options = options
    this.#pass = new PacedPass({
      clock: options.clock,
      list: options.list,
      limit: STEP,
      pause: PAUSE,
      begin: () => this.#begin(),
      each: ({ rule }) => this.#look(rule),
      end: () => {},
    })
  }

  /** Looks at a few more rules when it is time. To be called now and then. */
  sweep(): void {
    this.#pass.step().catch((error) => this.#options.onError(error))
  }

  #begin(): void {
    this.#suspects = this.#found
    this.#found = new Map()
  }

  #look(rule: Rule): void {
    const { flow } = rule
    if (this.#options.isJustified(flow)) return
    const found = nameOf(rule)
    // Should it stay again, the next pass finds it again.
    if (this.#found.size < MAXIMUM_SUSPECTS) this.#found.set(flow.id, found)
    if (this.#suspects.get(flow.id) === found) this.#options.remove(flow)
  }
}

/** Equal for a rule that was not put again. */
function nameOf({ action, handoff, ...rule }: Rule): string {
  const ended = 'ended' in rule && rule.ended === true
  return `${action} ${ended} ${handoff?.epoch} ${handoff?.handoff}`
}
