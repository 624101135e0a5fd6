import { XoffloadError } from '@xoffload/core'
import { defineCommand } from 'citty'
import { ConfigError, type ConfigKind, loadConfig } from '../config/index.ts'
import { checks, type Examined, examine, type Finding } from '../doctor/index.ts'
import { configArgument } from './config-argument.ts'
import { reportErrors } from './report-errors.ts'

export const doctorCommand = defineCommand({
  meta: { name: 'doctor', description: 'Say what this host lacks to be a gateway or a server; changes nothing' },
  args: {
    role: { type: 'positional', required: false, description: 'What the host is to be: gateway or server' },
    config: { ...configArgument, description: 'Its configuration file, TOML or JSON' },
    json: { type: 'boolean', description: 'Print one JSON object a line: check, status, text' },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const print = args.json ? printJson : printText
      const { examined, problem } = await examinedHost(roleOf(args.role, args.config), args.config)
      let healthy = problem === undefined
      if (problem !== undefined) print(problem)
      for await (const finding of examine(checks, examined)) {
        print(finding)
        if (finding.status === 'failed') healthy = false
      }
      if (!healthy) process.exitCode = 1
    }),
})

function roleOf(role: string | undefined, config: string | undefined): ConfigKind | undefined {
  if (role === 'gateway' || role === 'server') return role
  if (role !== undefined) throw new XoffloadError('USAGE', `the role is "${role}": "gateway" or "server" is expected`)
  if (config === undefined) return undefined
  throw new XoffloadError('USAGE', 'a configuration needs its role: xoffload doctor gateway -c FILE, or server')
}

/** A configuration that cannot be used is a finding, and what does not depend on it is examined all the same. */
async function examinedHost(
  role: ConfigKind | undefined,
  file: string | undefined,
): Promise<{ readonly examined: Examined; readonly problem?: Finding }> {
  if (role === undefined) return { examined: {} }
  if (file === undefined) return { examined: { role } }
  try {
    return { examined: await configured(role, file) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { examined: { role }, problem: { check: 'configuration', status: 'failed', text: error.message } }
  }
}

async function configured(role: ConfigKind, file: string): Promise<Examined> {
  return role === 'gateway'
    ? { role, config: await loadConfig('gateway', file) }
    : { role, config: await loadConfig('server', file) }
}

function printJson(finding: Finding): void {
  console.log(JSON.stringify(finding))
}

function printText({ status, check, text }: Finding): void {
  console.log(`${status.padEnd(7)}  ${check.padEnd(15)}  ${text}`)
}
