import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { versionsInLockfile } from '../checks/static.ts'
import { commands } from '../commands.mjs'
import { parseTestArguments, UsageError } from '../runner/arguments.ts'
import { findTestFiles, groupTestFiles, runsHere } from '../runner/test-files.ts'

describe('npm test -- ARGS', () => {
  test('runs both tiers, and checks in CI only', () => {
    expect(parseTestArguments([], {})).toEqual({
      tiers: ['pure', 'netns'],
      patterns: [],
      namePattern: undefined,
      checks: false,
    })
    expect(parseTestArguments([], { CI: 'true' }).checks).toBe(true)
    expect(parseTestArguments(['--no-checks'], { CI: 'true' }).checks).toBe(false)
  })

  test('selects by tier, path and name', () => {
    const options = parseTestArguments(['--tier', 'netns', 'flow', '-t', 'ipv6'], {})
    expect(options).toMatchObject({ tiers: ['netns'], patterns: ['flow'], namePattern: 'ipv6' })
  })

  test('names what it does not know', () => {
    expect(() => parseTestArguments(['--tier', 'fast'], {})).toThrow(UsageError)
    expect(() => parseTestArguments(['--tier', 'fast'], {})).toThrow('"fast"')
    expect(() => parseTestArguments(['--speed'], {})).toThrow(UsageError)
  })
})

test('test files are found, but not those of dependencies', () => {
  const files = findTestFiles(join(import.meta.dir, '../..'))
  expect(files).toContain('scripts/test/selection.test.ts')
  expect(files.filter((file) => file.includes('node_modules'))).toEqual([])
})

test('test files are grouped by tier and package, pure tests first', () => {
  const groups = groupTestFiles([
    'testbed/test/netns/bed.test.ts',
    'packages/linux/test/netns/tcp.test.ts',
    'packages/linux/test/errno.test.ts',
    'packages/core/test/flow.test.ts',
    'packages/core/test/deep/mac.test.ts',
  ])
  expect(groups.map(({ tier, directory, files }) => [tier, directory, files.length])).toEqual([
    ['pure', 'packages/core', 2],
    ['pure', 'packages/linux', 1],
    ['netns', 'packages/linux', 1],
    ['netns', 'testbed', 1],
  ])
  expect(groups.map((group) => runsHere(group, 'darwin'))).toEqual([true, false, false, false])
})

describe('what a command needs', () => {
  const needsOf = (name: string, args: string[], env: NodeJS.ProcessEnv = {}) => commands[name]?.needs(args, env)

  test('is nothing for the pure tier and for help', () => {
    for (const [name, args] of [
      ['test', ['--tier', 'pure']],
      ['test', ['--tier=pure']],
      ['demo', ['--help']],
    ] as const) {
      expect(needsOf(name, [...args])).toEqual({ privilege: false, debianPackages: [] })
    }
  })

  test('is root, real peers, and a BPF compiler in CI', () => {
    expect(needsOf('demo', ['--json'])).toMatchObject({ privilege: true })
    expect(needsOf('test', [])?.debianPackages).not.toContain('clang')
    expect(needsOf('test', [], { CI: 'true' })?.debianPackages).toContain('clang')
    expect(needsOf('test', ['--tier', 'netns'])?.debianPackages).toContain('nginx-light')
  })
})

test('all versions of a package in a lock file are found', () => {
  const lockfile = `
"@sinclair/typebox@0.34.52", "@sinclair/typebox@^0.34.15":
  version "0.34.52"

"@sinclair/typebox@^0.33.0":
  version "0.33.1"
  dependencies:
    "@sinclair/typebox" "0.1.0"

"@sinclair/typebox-codegen@1.0.0":
  version "1.0.0"
`
  expect(versionsInLockfile(lockfile, '@sinclair/typebox')).toEqual(['0.34.52', '0.33.1'])
})
