/**
 * The commands of one flow, as a pure state machine.
 *
 * What is wanted of a flow is always one of: nothing, a removal, an insertion, or a removal and then an insertion. A removal that is
 * asked for withdraws the insertion that is there, in whatever state that is:
 *
 * | the insertion is | what happens to it | what it costs the hardware |
 * | --- | --- | --- |
 * | waiting | it is forgotten | nothing |
 * | being executed | it is aborted; unless the hardware says that it was not carried out, a removal follows it | at most one removal |
 * | installed | a removal follows | one removal |
 *
 * `hardware` is what is proven. Between the start of an insertion and its answer, and after an answer that proves nothing, that is
 * nothing: the rule may be there. Only a removal that the hardware has carried out makes `absent` of it. So nothing is forgotten while
 * a rule may be left behind.
 */
export interface FlowCommands {
  /** `unknown`: a command has failed in such a way that the rule may be there or not. */
  readonly hardware: 'absent' | 'present' | 'unknown'
  readonly running: 'none' | 'insert' | 'remove'
  /** An insertion waits. When a removal waits too the removal goes first. */
  readonly insert: boolean
  /** A removal waits. With a running insertion: it becomes due when that has been answered. */
  readonly remove: boolean
}

export type FlowCommandEvent =
  /** Somebody wants the rule, or a newer one, in the hardware. */
  | 'put'
  /** Somebody wants no rule in the hardware. */
  | 'remove'
  /** The waiting insertion has waited too long. */
  | 'expired'
  | 'insert-started'
  | 'remove-started'
  /** The hardware's answers. `insert-refused`, `insert-aborted`: certainly not carried out. `-failed`: carried out or not. */
  | 'inserted'
  | 'insert-refused'
  | 'insert-aborted'
  | 'insert-failed'
  | 'removed'
  | 'remove-failed'

/** In which state a removal found the insertion that it has withdrawn. */
export type WithdrawnState = 'waiting' | 'executing' | 'installed'

export type FlowCommandEffect =
  /** The insertion waits from now on. `replaced`: instead of an earlier one, in its place. */
  | { readonly type: 'wait-insert'; readonly replaced: boolean }
  /** The waiting insertion is over. */
  | { readonly type: 'drop-insert'; readonly why: 'withdrawn' | 'expired' }
  /** The insertion that runs is to be aborted, if that is still possible. */
  | { readonly type: 'abort-insert' }
  /** A removal is due. `retry`: the one before has failed, and the next one may wait a little. */
  | { readonly type: 'wait-remove'; readonly retry: boolean }
  /** An insertion was withdrawn in this state. */
  | { readonly type: 'withdrawn'; readonly state: WithdrawnState }
  /** It is proven that the hardware has no rule of the flow. */
  | { readonly type: 'absent' }

export interface FlowCommandStep {
  readonly state: FlowCommands
  readonly effects: readonly FlowCommandEffect[]
}

export const NO_COMMANDS: FlowCommands = { hardware: 'absent', running: 'none', insert: false, remove: false }

/** Whether nothing is wanted, and nothing is in the hardware: the flow can be forgotten. */
export function isOver({ hardware, running, insert, remove }: FlowCommands): boolean {
  return hardware === 'absent' && running === 'none' && !insert && !remove
}

/** The command that may be started now. */
export function nextCommand({ running, insert, remove }: FlowCommands): 'insert' | 'remove' | undefined {
  if (running !== 'none') return undefined
  if (remove) return 'remove'
  return insert ? 'insert' : undefined
}

/** One step. Events that cannot happen in a state change nothing. */
export function stepFlowCommands(state: FlowCommands, event: FlowCommandEvent): FlowCommandStep {
  switch (event) {
    case 'put':
      return { state: { ...state, insert: true }, effects: [{ type: 'wait-insert', replaced: state.insert }] }
    case 'remove':
      return remove(state)
    case 'expired':
      if (!state.insert) return { state, effects: [] }
      return { state: { ...state, insert: false }, effects: [{ type: 'drop-insert', why: 'expired' }] }
    case 'insert-started':
      return { state: { ...state, running: 'insert', insert: false }, effects: [] }
    case 'remove-started':
      return { state: { ...state, running: 'remove', remove: false }, effects: [] }
    case 'inserted':
    case 'insert-refused':
    case 'insert-aborted':
    case 'insert-failed':
      return state.running === 'insert' ? insertAnswered(state, event) : { state, effects: [] }
    case 'removed':
    case 'remove-failed':
      return state.running === 'remove' ? removeAnswered(state, event) : { state, effects: [] }
  }
}

function remove(state: FlowCommands): FlowCommandStep {
  const effects: FlowCommandEffect[] = []
  if (state.insert) effects.push({ type: 'drop-insert', why: 'withdrawn' }, { type: 'withdrawn', state: 'waiting' })
  const next = { ...state, insert: false }
  // Another one is on its way already.
  if (state.remove || state.running === 'remove') return { state: next, effects }
  if (state.running === 'insert') {
    effects.push({ type: 'abort-insert' }, { type: 'withdrawn', state: 'executing' })
    return { state: { ...next, remove: true }, effects }
  }
  if (state.hardware === 'absent') return { state: next, effects: [...effects, { type: 'absent' }] }
  if (state.hardware === 'present') effects.push({ type: 'withdrawn', state: 'installed' })
  return { state: { ...next, remove: true }, effects: [...effects, { type: 'wait-remove', retry: false }] }
}

function insertAnswered(
  state: FlowCommands,
  answer: 'inserted' | 'insert-refused' | 'insert-aborted' | 'insert-failed',
): FlowCommandStep {
  const withdrawn = state.remove
  const hardware = hardwareAfter(state.hardware, answer)
  const effects: FlowCommandEffect[] = []
  // What may be there and nobody can rely on has to go.
  const toRemove = hardware === 'unknown' || (withdrawn && hardware === 'present')
  if (toRemove) effects.push({ type: 'wait-remove', retry: false })
  else if (hardware === 'absent') effects.push({ type: 'absent' })
  return { state: { ...state, hardware, running: 'none', remove: toRemove }, effects }
}

function hardwareAfter(before: FlowCommands['hardware'], answer: FlowCommandEvent): FlowCommands['hardware'] {
  if (answer === 'inserted') return 'present'
  return answer === 'insert-failed' ? 'unknown' : before
}

function removeAnswered(state: FlowCommands, answer: 'removed' | 'remove-failed'): FlowCommandStep {
  if (answer === 'removed') {
    return { state: { ...state, hardware: 'absent', running: 'none' }, effects: [{ type: 'absent' }] }
  }
  // Not even that the rule is still there is certain.
  const failed: FlowCommands = { ...state, hardware: 'unknown', running: 'none', remove: true }
  return { state: failed, effects: [{ type: 'wait-remove', retry: true }] }
}
