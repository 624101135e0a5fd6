import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ownPackage from '../package.json'
import { CreateError, createRedirector } from '../src/index.ts'

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xoffload-create-'))
})
afterAll(() => rm(directory, { recursive: true }))

const main = new URL('../src/main.ts', import.meta.url).pathname

function run(cwd: string, ...command: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd, stdout: 'pipe', stderr: 'pipe' })
  return { exitCode, output: `${stdout}${stderr}` }
}

describe('the command', () => {
  test('makes a package that has the right types and passes the suite', async () => {
    expect(run(directory, process.execPath, main, 'my-nic').exitCode).toBe(0)
    const path = join(directory, 'my-nic')
    const { name, dependencies } = JSON.parse(await readFile(join(path, 'package.json'), 'utf8'))
    expect({ name, dependencies }).toEqual({ name: 'my-nic', dependencies: { '@xoffload/core': ownPackage.version } })
    expect(existsSync(join(path, '.gitignore'))).toBe(true)
    await install(path)
    // Here the packages have their sources only, and no declarations.
    const types = run(path, process.execPath, 'run', 'check', '--customConditions', 'bun')
    expect(types).toMatchObject({ exitCode: 0 })
    const { exitCode, output } = run(path, process.execPath, 'test')
    expect(output).toContain('\n 0 fail')
    expect(exitCode).toBe(0)
    const table = run(path, process.execPath, 'run', 'table')
    expect(table.output).toContain('rules: hold')
    expect(table.exitCode).toBe(0)
  }, 120_000)

  test('says how it is used', () => {
    for (const args of [[], ['--help'], ['a', 'b']]) {
      const { exitCode, output } = run(directory, process.execPath, main, ...args)
      expect(output).toContain('bun create @xoffload/redirector')
      expect(exitCode).toBe(args[0] === '--help' ? 0 : 1)
    }
  })

  test('overwrites nothing', async () => {
    const path = join(directory, 'taken')
    await mkdir(path)
    await writeFile(join(path, 'mine.txt'), 'mine')
    const { exitCode, output } = run(directory, process.execPath, main, 'taken')
    expect(output).toContain('is not empty')
    expect(exitCode).toBe(1)
    expect(existsSync(join(path, 'package.json'))).toBe(false)
  })
})

test('a name that is none is refused', async () => {
  await expect(createRedirector(join(directory, 'My NIC'))).rejects.toBeInstanceOf(CreateError)
  expect(existsSync(join(directory, 'My NIC'))).toBe(false)
})

/** What `bun install` would do, from this repository instead of the registry. */
async function install(path: string): Promise<void> {
  const modules = join(path, 'node_modules')
  const root = new URL('../../..', import.meta.url).pathname
  await mkdir(join(modules, '@xoffload'), { recursive: true })
  await mkdir(join(modules, '@types'))
  await mkdir(join(modules, '.bin'))
  await symlink(join(root, 'packages/core'), join(modules, '@xoffload/core'))
  for (const name of ['@types/bun', 'typescript', '.bin/tsc']) {
    await symlink(join(root, 'node_modules', name), join(modules, name))
  }
}
