// What can be checked without running a test: types, format, lint, layers, one version of TypeBox.
import { dirname } from 'node:path'
import { runChecks } from './checks/check.ts'
import { staticChecks } from './checks/static.ts'

const { failed } = await runChecks(staticChecks(dirname(import.meta.dir)))
process.exitCode = failed > 0 ? 1 : 0
