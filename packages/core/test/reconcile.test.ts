import { describe, expect, test } from 'bun:test'
import {
  type HandoffReference,
  type L2Target,
  MacAddress,
  type ReportedConnection,
  type Rule,
  reconcile,
  type ServerReport,
  type SteerTarget,
  type Verdict,
} from '../src/index.ts'
import { flowNumber } from './support/scene.ts'

const flow = flowNumber(1)
const first: HandoffReference = { handoff: 1, epoch: 7 }
const second: HandoffReference = { handoff: 2, epoch: 7 }

function targetOf(server: string): SteerTarget {
  return { mode: 'l2', mac: MacAddress.from(Uint8Array.of(2, 0, 0, 0, 0, server.charCodeAt(0))) }
}

function serverOf(target: SteerTarget): string | undefined {
  const name = String.fromCharCode((target as L2Target).mac.bytes[5] as number)
  return 'AB'.includes(name) ? name : undefined
}

const steer = (server: string, handoff: HandoffReference, ended = false): Rule => {
  return { action: 'steer', flow, target: targetOf(server), handoff, ended }
}
const hold = (handoff: HandoffReference, silent = false): Rule => ({ action: 'hold', flow, handoff, silent })

function report(server: string, state: ReportedConnection['state'], handoff: HandoffReference): ServerReport {
  return { server, connection: { flow, ...handoff, state } }
}

/** Offered by A, to which the first handoff had brought it, in the second. */
const offered: ServerReport = {
  server: 'A',
  connection: { flow, ...second, state: 'offered', connection: first },
}

function decide(rule: Rule | undefined, reports: ServerReport[], complete = true, here = false): string {
  return describeVerdict(reconcile(rule, reports, { complete, serverOf, here }))
}

/** `steered B 7/2, steer to B 7/2, commit B 7/2, release A 7/2`: the state, the rule and the messages. */
function describeVerdict({ state, server, handoff, rule, messages }: Verdict): string {
  const parts = [server && handoff ? `${state} ${server} ${name(handoff)}` : state]
  if (rule === 'remove') parts.push('remove')
  else if (rule !== 'keep') parts.push(`steer to ${rule.steer} ${name(rule.handoff)}`)
  parts.push(...messages.map(({ to, message }) => `${message.type} ${to} ${name(message)}`))
  return parts.join(', ')
}

function name({ handoff, epoch }: HandoffReference): string {
  return `${epoch}/${handoff}`
}

describe('behind a rule that steers', () => {
  test.each<[string, Rule, ServerReport[], string]>([
    ['its server has it', steer('A', first), [report('A', 'owned', first)], 'steered A 7/1'],
    ['the commit was not sent', steer('B', second), [report('B', 'prepared', second)], 'steered B 7/2, commit B 7/2'],
    [
      'neither commit nor release was sent',
      steer('B', second),
      [offered, report('B', 'prepared', second)],
      'steered B 7/2, commit B 7/2, release A 7/2',
    ],
    [
      'only the release was not sent',
      steer('B', second),
      [offered, report('B', 'owned', second)],
      'steered B 7/2, release A 7/2',
    ],
    ['an abort was not sent', steer('A', first), [offered], 'steered A 7/1, abort A 7/2'],
    [
      'aborts were not sent to origin and target',
      steer('A', first),
      [offered, report('B', 'prepared', second)],
      'steered A 7/1, abort A 7/2, abort B 7/2',
    ],
    [
      'the frozen socket is reported as owned too',
      steer('A', first),
      [report('A', 'owned', first), offered],
      'steered A 7/1, abort A 7/2',
    ],
    [
      'its rule is of another handoff',
      steer('A', second),
      [report('A', 'owned', first)],
      'steered A 7/1, steer to A 7/1',
    ],
    ['another server has it', steer('A', first), [report('B', 'owned', second)], 'steered B 7/2, steer to B 7/2'],
    ['nobody has it', steer('A', first), [], 'ended'],
    [
      'the target is gone, and the origin has not heard of the commit',
      steer('B', second),
      [offered],
      'ended, reset A 7/2',
    ],
    ['a later target is gone', steer('B', { handoff: 3, epoch: 7 }), [offered], 'ended, release A 7/2'],
    ['its server is not known', steer('C', first), [], 'ended'],
    ['a stale target', steer('A', first), [report('B', 'prepared', second)], 'ended, abort B 7/2'],
  ])('%s', (_name, rule, reports, expected) => {
    expect(decide(rule, reports)).toBe(expected)
  })

  test('that an owner is there needs no other report, that there is none does', () => {
    expect(decide(steer('A', first), [report('A', 'owned', first)], false)).toBe('steered A 7/1')
    expect(decide(steer('B', second), [offered], false)).toBe('undecided')
    expect(decide(steer('A', first), [], false)).toBe('undecided')
  })

  test('a connection that has ended stays so, and an origin that has not heard of it closes silently', () => {
    expect(decide(steer('B', first, true), [], false)).toBe('ended')
    expect(decide(steer('B', second, true), [offered])).toBe('ended, release A 7/2')
  })
})

describe('behind a lock', () => {
  test.each<[string, Rule, ServerReport[], string]>([
    ['the origin has offered it', hold(second), [offered], 'steered A 7/1, steer to A 7/1, abort A 7/2'],
    [
      'the target is prepared too',
      hold(second),
      [offered, report('B', 'prepared', second)],
      'steered B 7/2, steer to B 7/2, commit B 7/2, release A 7/2',
    ],
    [
      'the origin was asked and goes on, or was not asked',
      hold(second),
      [report('A', 'owned', first)],
      'steered A 7/1, steer to A 7/1, abort A 7/2',
    ],
    [
      'the origin goes on, and the target is prepared',
      hold(second),
      [report('A', 'owned', first), report('B', 'prepared', second)],
      'steered A 7/1, steer to A 7/1, abort A 7/2, abort B 7/2',
    ],
    [
      'the origin was this gateway, and the target is prepared',
      hold(first, true),
      [report('B', 'prepared', first)],
      'steered B 7/1, steer to B 7/1, commit B 7/1',
    ],
    ['the origin was this gateway', hold(first), [], 'gone, remove'],
    [
      'the origin was a server and has vanished: it may have gone on before',
      hold(second),
      [report('B', 'prepared', second)],
      'gone, remove, abort B 7/2',
    ],
    ['an offer of another handoff', hold({ handoff: 3, epoch: 7 }), [offered], 'gone, remove, reset A 7/2'],
  ])('%s', (_name, rule, reports, expected) => {
    expect(decide(rule, reports)).toBe(expected)
  })

  test('a target that is prepared waits for what is said of its origin, unless that was this gateway', () => {
    expect(decide(hold(second), [report('B', 'prepared', second)], false)).toBe('undecided')
    expect(decide(hold(second, true), [report('B', 'prepared', second)], false)).toStartWith('steered B 7/2')
    expect(decide(hold(second), [offered], false)).toStartWith('steered A 7/1')
  })
})

describe('without a rule', () => {
  test.each<[string, ServerReport[], string]>([
    ['a server has it', [report('A', 'owned', first)], 'steered A 7/1, steer to A 7/1'],
    [
      'a server has it, and the origin has not heard of it',
      [offered, report('B', 'owned', second)],
      'steered B 7/2, steer to B 7/2, release A 7/2',
    ],
    [
      'origin and target are as they were before the commit',
      [offered, report('B', 'prepared', second)],
      'steered B 7/2, steer to B 7/2, commit B 7/2, release A 7/2',
    ],
    ['only an origin', [offered], 'gone, reset A 7/2'],
    ['only a target', [report('B', 'prepared', second)], 'gone, abort B 7/2'],
    ['nobody', [], 'gone'],
  ])('%s', (_name, reports, expected) => {
    expect(decide(undefined, reports)).toBe(expected)
  })

  test('what lives in this process is left alone, and everybody else is told', () => {
    expect(decide(undefined, [offered, report('B', 'prepared', first)], false, true)).toBe(
      'here, release A 7/2, abort B 7/1',
    )
  })

  test('an origin or a target alone waits for the other reports', () => {
    expect(decide(undefined, [offered], false)).toBe('undecided')
    expect(decide(undefined, [report('B', 'prepared', second)], false)).toBe('undecided')
  })
})

test('the same reports once more, with the mended rule, change nothing but repeat what was said', () => {
  const reports = [offered, report('B', 'prepared', second)]
  for (const rule of [undefined, hold(second), steer('B', second), steer('A', first)]) {
    const { rule: mended, messages, server, handoff } = reconcile(rule, reports, { complete: true, serverOf })
    if (server === undefined || handoff === undefined) throw new Error('it lives')
    const again = reconcile(mended === 'keep' ? rule : steer(server, handoff), reports, { complete: true, serverOf })
    expect([again.rule, again.messages, again.server]).toEqual(['keep', messages, server])
  }
})
