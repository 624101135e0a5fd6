/** `npm run bench -- NAME [--json] ...`: runs one benchmark, a file of this folder that exports `run`. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { XoffloadError } from '@xoffload/core'

/** What a benchmark is called with. */
export interface BenchOptions {
  /** Figures as lines of JSON on stdout, and nothing else there. */
  readonly json: boolean
  /** The other arguments. */
  readonly args: string[]
}

/** What `bench/src/NAME.ts` exports. */
export interface Bench {
  run(options: BenchOptions): Promise<void>
}

/** The benchmarks' names. A file that exports no `run` is a part of others. Importing all to see would load BPF libraries. */
function benchNames(): string[] {
  return readdirSync(import.meta.dir)
    .filter(
      (name) =>
        name.endsWith('.ts') &&
        /^export (async )?function run\(/m.test(readFileSync(join(import.meta.dir, name), 'utf8')),
    )
    .map((name) => basename(name, '.ts'))
    .sort()
}

async function main(args: readonly string[]): Promise<void> {
  const name = args.find((argument) => !argument.startsWith('-'))
  const names = benchNames()
  const list = `The benchmarks are: ${names.join(', ')}`
  if (name === undefined) {
    const asked = args.includes('--help') || args.includes('-h')
    ;(asked ? console.log : console.error)(`npm run bench -- NAME [--json] ...\n${list}`)
    process.exitCode = asked ? 0 : 2
    return
  }
  if (!names.includes(name)) {
    console.error(`There is no benchmark "${name}". ${list}`)
    process.exitCode = 2
    return
  }
  const bench: Bench = await import(join(import.meta.dir, `${name}.ts`))
  const others = args.filter((argument) => argument !== '--json')
  await bench.run({ json: args.includes('--json'), args: others.toSpliced(others.indexOf(name), 1) })
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  // An expected error is one sentence for the user; any other one keeps its stack.
  console.error(error instanceof XoffloadError ? `bench: ${error.message}` : error)
  process.exitCode = 1
}
