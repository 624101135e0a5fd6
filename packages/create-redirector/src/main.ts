#!/usr/bin/env node
// bun create @xoffload/redirector DIRECTORY
import { CreateError, createRedirector } from './create.ts'

const USAGE = 'usage: bun create @xoffload/redirector DIRECTORY\n'

const [directory, ...more] = process.argv.slice(2)
if (directory === undefined || directory.startsWith('-') || more.length > 0) {
  process.stderr.write(USAGE)
  process.exitCode = directory === '--help' || directory === '-h' ? 0 : 1
} else {
  try {
    const path = await createRedirector(directory)
    process.stdout.write(`made ${path}\nnext: cd ${directory} && bun install && bun test\n`)
  } catch (error) {
    if (!(error instanceof CreateError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}
