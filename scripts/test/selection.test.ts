import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { versionsInLockfile } from '../checks/static.ts'
import { commands } from '../commands.mjs'
import { parseTestArguments, UsageError } from '../runner/arguments.ts'
import { findTestFiles, groupTestFiles, runsHere } from '../runner/test-files.ts'

describe('npm test -- ARGS', () => {
  test('runs all tiers, and checks in CI only', () => {
    expect(parseTestArguments([], {})).toEqual({
      tiers: ['pure', 'netns', 'guest'],
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
    'testbed/test/guest/boot.test.ts',
    'testbed/test/guest/inside/kernel.test.ts',
    'testbed/test/netns/bed.test.ts',
    'packages/linux/test/netns/tcp.test.ts',
    'packages/linux/test/errno.test.ts',
    'packages/core/test/flow.test.ts',
    'packages/core/test/deep/mac.test.ts',
  ])
  expect(groups.map(({ tier, directory, insideGuest, files }) => [tier, directory, insideGuest, files.length])).toEqual(
    [
      ['pure', 'packages/core', false, 2],
      ['pure', 'packages/linux', false, 1],
      ['netns', 'packages/linux', false, 1],
      ['netns', 'testbed', false, 1],
      ['guest', 'testbed', false, 1],
      ['guest', 'testbed', true, 1],
    ],
  )
  expect(groups.map((group) => runsHere(group, 'darwin'))).toEqual([true, false, false, false, false, false])
})

describe('what a command needs', () => {
  const needsOf = (name: string, args: string[], env: NodeJS.ProcessEnv = {}) => commands[name]?.needs(args, env)

  test('is nothing for the pure tier and for help', () => {
    for (const [name, args] of [
      ['test', ['--tier', 'pure']],
      ['test', ['--tier=pure']],
      ['demo', ['--help']],
    ] as const) {
      expect(needsOf(name, [...args])).toEqual({ privilege: false, debianPackages: [], guest: false })
    }
  })

  test('is root, real peers, and a BPF compiler in CI', () => {
    expect(needsOf('demo', ['--json'])).toMatchObject({ privilege: true })
    expect(needsOf('test', [])?.debianPackages).not.toContain('clang')
    expect(needsOf('test', [], { CI: 'true' })?.debianPackages).toContain('clang')
    expect(needsOf('test', ['--tier', 'netns'])?.debianPackages).toContain('nginx-light')
  })

  test('is what every tier needs when none is named', () => {
    const all: readonly string[] = needsOf('test', [])?.debianPackages ?? []
    for (const tier of ['pure', 'netns', 'guest'])
      expect(all).toEqual(expect.arrayContaining(needsOf('test', ['--tier', tier])?.debianPackages.slice() ?? ['none']))
  })

  test('is a machine for the guest when tests run in it', () => {
    for (const args of [[], ['--tier', 'guest'], ['--tier=guest'], ['flower']]) {
      expect(needsOf('test', args)).toMatchObject({ privilege: true, guest: true })
      expect(needsOf('test', args)?.debianPackages).toContain('qemu-system-x86')
    }
    expect(needsOf('test', ['--tier', 'netns'])).toMatchObject({ guest: false })
    expect(needsOf('test', ['--tier=netns'])?.debianPackages).not.toContain('qemu-system-x86')
    expect(needsOf('guest', ['--', 'true'])).toMatchObject({ privilege: true, guest: true })
  })

  test('depends on the benchmark', () => {
    expect(needsOf('bench', ['nginx', '--json'])?.debianPackages).toContain('haproxy')
    expect(needsOf('bench', ['rules'])).toMatchObject({ privilege: true, guest: true })
    expect(needsOf('bench', ['packets'])).toMatchObject({ privilege: true, guest: false })
    expect(needsOf('bench', ['--help'])).toMatchObject({ privilege: false })
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
