// Runs a root command, `npm run NAME -- ARGS`, after the set-up that it needs. Plain Node without packages: this is what
// runs straight after `git clone`.
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commands } from './commands.mjs'
import { bunTool } from './setup/bun.mjs'
import { runInPlace } from './setup/child.mjs'
import { debianPackages } from './setup/debian.mjs'
import { SetupFailure, say } from './setup/failure.mjs'
import { guestKernel } from './setup/guest-kernel.mjs'
import { withLock } from './setup/lock.mjs'
import { requirePrivilege } from './setup/privilege.mjs'
import { workspacePackages } from './setup/workspace.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/**
 * @param {string} name
 * @param {readonly string[]} args
 */
const setUp = async (name, args) => {
  const command = commands[name]
  if (command === undefined)
    throw new SetupFailure(`no command "${name}"; there are ${Object.keys(commands).join(', ')}.`)
  const needs = command.needs(args, process.env)
  if (needs.privilege) requirePrivilege(name)

  const bun = bunTool(root)
  const steps = [
    bun,
    workspacePackages(root, bun.executable),
    debianPackages(needs.debianPackages),
    guestKernel(root, needs.guest),
  ]
  if (steps.some((step) => step.isMissing())) {
    await withLock(join(root, '.tools/setup.lock'), () => {
      // Another set-up may have done it while this one waited.
      for (const step of steps) if (step.isMissing()) step.install()
    })
  }
  return { bun, words: [join(root, command.entry), ...(command.args ?? [])] }
}

const [name = '', ...args] = process.argv.slice(2)
try {
  const { bun, words } = await setUp(name, args)
  const env = { ...process.env, PATH: `${bun.bin}:${process.env.PATH ?? ''}` }
  const { code, signal } = await runInPlace(bun.executable, [...words, ...args], { cwd: root, env })
  if (signal !== null) process.kill(process.pid, signal)
  else process.exitCode = code ?? 1
} catch (error) {
  if (!(error instanceof SetupFailure)) throw error
  say(error.message)
  process.exitCode = 1
}
