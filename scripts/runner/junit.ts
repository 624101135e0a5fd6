/** Numbers of one or more test runs. */
export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** `file: name` of each test that failed, for the summary at the end. */
  readonly failures: readonly string[]
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
    const name = `${attribute(attributes, 'file')}: ${attribute(attributes, 'name')}`
    if (selfClosing !== undefined) tally = addTallies(tally, { ...emptyTally, passed: 1 })
    else if (/<(failure|error)\b/.test(body)) tally = addTallies(tally, failed(name))
    else if (/<skipped\b/.test(body)) tally = addTallies(tally, { ...emptyTally, skipped: 1 })
    else tally = addTallies(tally, { ...emptyTally, passed: 1 })
  }
  return tally
}

/** One failure. */
export function failed(name: string): Tally {
  return { passed: 0, failed: 1, skipped: 0, failures: [name] }
}

function attribute(attributes: string, name: string): string {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '?'
  return value.replace(/&(lt|gt|quot|apos|amp);/g, (_, entity: keyof typeof entities) => entities[entity])
}

const entities = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
