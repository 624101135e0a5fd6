/** `npm run conformance`: see {@link USAGE}. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type ConformanceResult, conformanceTable } from '@xoffload/core/conformance'
import { conformanceTests } from './files.ts'
import { RESULTS_VARIABLE } from './record.ts'

const USAGE = `usage: npm run conformance -- [--json] [PATH...]

Runs the conformance suite on every redirector and prints a table: a row per test, a column per redirector. Those that need tc-flower
run on a Debian kernel in QEMU.
--json prints one JSON object a line instead: {redirector, group, test, outcome, reason}.
With PATH only the test files whose path contains one of them. Ends with 1 when a test fails.`

const ROOT = new URL('../../..', import.meta.url).pathname
/** Those in this folder run inside the guest. */
const INSIDE_GUEST = '/test/guest/inside/'
/** Seconds until the tests in the guest are ended: its processor is emulated. */
const GUEST_TIMEOUT = 2400
/** The example: prints its results itself. */
const EXAMPLE = 'packages/create-redirector/template/test/table.ts'

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(USAGE)
    return
  }
  const paths = args.filter((arg) => arg !== '--json')
  const wanted = (file: string) => paths.length === 0 || paths.some((path) => file.includes(path))
  const results: ConformanceResult[] = wanted(EXAMPLE) ? await example() : []
  const directory = await mkdtemp(join(tmpdir(), 'xoffload-conformance-'))
  try {
    for (const file of conformanceTests(ROOT).filter(wanted)) {
      results.push(...(await test(file, join(directory, 'results'))))
    }
  } finally {
    await rm(directory, { recursive: true })
  }
  const json = results.map((result) => `${JSON.stringify(result)}\n`).join('')
  process.stdout.write(args.includes('--json') ? json : conformanceTable(results))
}

/** What a test file reports goes to stderr, its results to a file. */
async function test(file: string, resultsFile: string): Promise<ConformanceResult[]> {
  await writeFile(resultsFile, '')
  const command = [process.execPath, 'test', `./${file}`]
  const child = Bun.spawn(file.includes(INSIDE_GUEST) ? insideGuest(command, dirname(resultsFile)) : command, {
    cwd: ROOT,
    env: { ...process.env, [RESULTS_VARIABLE]: resultsFile },
    stdio: ['ignore', 2, 2],
  })
  if ((await child.exited) !== 0) process.exitCode = 1
  const results = parse(await readFile(resultsFile, 'utf8'))
  if (results.length > 0) return results
  // A table without a column that it should have must not look complete.
  console.error(`conformance: ${file} gave no results`)
  process.exitCode = 1
  return results
}

/** The command in a guest that may write to the directory. */
function insideGuest(command: readonly string[], directory: string): string[] {
  const guest = [process.execPath, 'testbed/src/guest/main.ts', '--share', directory]
  return [...guest, '--timeout', `${GUEST_TIMEOUT}`, '--', ...command]
}

async function example(): Promise<ConformanceResult[]> {
  const child = Bun.spawn([process.execPath, EXAMPLE, '--json'], { cwd: ROOT, stdio: ['ignore', 'pipe', 2] })
  const [text] = await Promise.all([child.stdout.text(), child.exited])
  if (child.exitCode !== 0) process.exitCode = 1
  return parse(text)
}

function parse(lines: string): ConformanceResult[] {
  return lines
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

await main(process.argv.slice(2))
