/** Numbers of one or more test runs. */
export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** For the summary at the end. */
  readonly failures: readonly Failure[]
}

/** A test that failed. */
export interface Failure {
  /** `file: group > name` */
  readonly name: string
  /** What was thrown, in several lines; empty when nothing is known. */
  readonly reason: string
}

export const emptyTally: Tally = { passed: 0, failed: 0, skipped: 0, failures: [] }

export function addTallies(a: Tally, b: Tally): Tally {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
    failures: [...a.failures, ...b.failures],
  }
}

/**
 * Counts the test cases in the report of `bun test --reporter=junit`. `test.todo` counts as skipped. Text in the report is
 * escaped, so that `<testcase` cannot occur in a name or a message.
 */
export function tallyReport(xml: string): Tally {
  let tally = emptyTally
  for (const [, attributes = '', selfClosing, body = ''] of xml.matchAll(
    /<testcase\b((?:[^>"]|"[^"]*")*?)(?:(\/)>|>(.*?)<\/testcase>)/gs,
  )) {
    // The innermost group first.
    const groups = attribute(attributes, 'classname').split(' > ').reverse()
    const path = [...groups, attribute(attributes, 'name')].filter((part) => part !== '')
    const name = `${attribute(attributes, 'file')}: ${path.join(' > ')}`
    if (selfClosing !== undefined) tally = addTallies(tally, { ...emptyTally, passed: 1 })
    else if (/<(failure|error)\b/.test(body)) tally = addTallies(tally, failed(name, reasonOf(body)))
    else if (/<skipped\b/.test(body)) tally = addTallies(tally, { ...emptyTally, skipped: 1 })
    else tally = addTallies(tally, { ...emptyTally, passed: 1 })
  }
  return tally
}

/** One failure. */
export function failed(name: string, reason = ''): Tally {
  return { passed: 0, failed: 1, skipped: 0, failures: [{ name, reason }] }
}

/** The text of a `failure` element has the stack too; one without text, a test that took too long, has a message. */
function reasonOf(body: string): string {
  const [, attributes = '', text = ''] = /<(?:failure|error)\b((?:[^>"]|"[^"]*")*?)(?:\/>|>(.*?)<\/)/s.exec(body) ?? []
  return text === '' ? attribute(attributes, 'message') : unescaped(text).trimEnd()
}

function attribute(attributes: string, name: string): string {
  return unescaped(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '?')
}

function unescaped(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp|#10);/g, (_, entity: keyof typeof entities) => entities[entity])
}

const entities = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&', '#10': '\n' }
