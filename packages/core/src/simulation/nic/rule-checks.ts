import { checkRule } from '../../check-rule.ts'
import { RedirectorError } from '../../errors.ts'
import type { RedirectorManifest, Rule } from '../../redirector.ts'

/** Throws {@link RedirectorError} for a rule that cannot be, or that a redirector with this manifest does not know. */
export function refuseBadRule(rule: Rule, { name, holds, steerModes }: RedirectorManifest): void {
  checkRule(rule)
  if (rule.action === 'hold') {
    if (!holds) throw new RedirectorError('unsupported', `${name} cannot hold packets`)
  } else if (!steerModes.includes(rule.target.mode)) {
    throw new RedirectorError('unsupported', `${name} does not steer in mode ${rule.target.mode}`)
  }
}

/** A copy, without what is only a hint. */
export function keptRule(rule: Rule): Rule {
  if (rule.action === 'hold') return { ...rule }
  const { expectedBytes: _, ...kept } = rule
  return kept
}
