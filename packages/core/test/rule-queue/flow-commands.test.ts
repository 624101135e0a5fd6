import { expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  type FlowCommandEffect,
  type FlowCommandEvent,
  type FlowCommands,
  isOver,
  NO_COMMANDS,
  nextCommand,
  stepFlowCommands,
} from '../../src/rule-queue/flow-commands.ts'

/** What may happen next: a caller, the passing of time, the start of the next command, or an answer and what it hides. */
const moves = fc.array(
  fc.oneof(
    fc.constantFrom('put', 'remove', 'expired', 'start', 'start', 'start'),
    fc.record({
      answer: fc.constantFrom('done', 'done', 'refused', 'aborted', 'failed'),
      carriedOut: fc.boolean(),
    }),
  ),
  { maxLength: 60 },
)

type Answer = { readonly answer: 'done' | 'refused' | 'aborted' | 'failed'; readonly carriedOut: boolean }

/** Hardware that tells the truth in all its answers but `failed`. */
function answerTo(
  running: 'insert' | 'remove',
  { answer, carriedOut }: Answer,
): [FlowCommandEvent, boolean | undefined] {
  const there = running === 'insert'
  if (answer === 'failed') return [there ? 'insert-failed' : 'remove-failed', carriedOut ? there : undefined]
  if (!there) return ['removed', false]
  if (answer === 'done') return ['inserted', true]
  return [answer === 'refused' ? 'insert-refused' : 'insert-aborted', undefined]
}

function has(effects: readonly FlowCommandEffect[], type: FlowCommandEffect['type']): boolean {
  return effects.some((effect) => effect.type === type)
}

test('whatever happens, no rule is forgotten, and what is said of the hardware is true', () => {
  fc.assert(
    fc.property(moves, (list) => {
      let state: FlowCommands = NO_COMMANDS
      let there = false
      let unwanted = false
      for (const move of list) {
        let event: FlowCommandEvent
        if (typeof move === 'object') {
          if (state.running === 'none') continue
          const [answer, now] = answerTo(state.running, move)
          event = answer
          there = now ?? there
        } else if (move === 'start') {
          const next = nextCommand(state)
          if (next === undefined) continue
          // A removal that is wanted goes before any insertion.
          expect(next).toBe(state.remove ? 'remove' : 'insert')
          event = next === 'insert' ? 'insert-started' : 'remove-started'
        } else event = move
        const { state: after, effects } = stepFlowCommands(state, event)
        if (event === 'remove') unwanted = !has(effects, 'absent')
        if (has(effects, 'absent')) unwanted = false
        state = after
        if (state.running === 'none') {
          if (state.hardware !== 'unknown') expect(there).toBe(state.hardware === 'present')
          // What nobody can rely on, and what nobody wants, is being removed.
          if (state.hardware === 'unknown' || unwanted) expect(state.remove).toBe(true)
        }
        if (isOver(state)) expect(there).toBe(false)
        if (has(effects, 'absent')) expect(there).toBe(false)
      }
    }),
    { numRuns: 5000 },
  )
})

test('a removal finds an insertion in each state', () => {
  const put = stepFlowCommands(NO_COMMANDS, 'put').state
  const waiting = stepFlowCommands(put, 'remove')
  expect(isOver(waiting.state)).toBe(true)
  expect(waiting.effects).toContainEqual({ type: 'withdrawn', state: 'waiting' })

  const started = stepFlowCommands(put, 'insert-started').state
  const executing = stepFlowCommands(started, 'remove')
  expect(executing.effects).toEqual([{ type: 'abort-insert' }, { type: 'withdrawn', state: 'executing' }])
  expect(isOver(stepFlowCommands(executing.state, 'insert-aborted').state)).toBe(true)
  expect(stepFlowCommands(executing.state, 'inserted').state.remove).toBe(true)

  const installed = stepFlowCommands(stepFlowCommands(started, 'inserted').state, 'remove')
  expect(installed.effects).toEqual([
    { type: 'withdrawn', state: 'installed' },
    { type: 'wait-remove', retry: false },
  ])
})
