// Builds every public package: dist/ with JavaScript and declarations.
import { dirname } from 'node:path'
import { buildPackage, publicPackages } from './runner/packages.ts'

const root = dirname(import.meta.dir)

for (const each of await publicPackages(root)) {
  process.stderr.write(`building ${each.name}\n`)
  const failure = await buildPackage(root, each)
  if (failure !== undefined) {
    process.stderr.write(`${failure}\n`)
    process.exitCode = 1
    break
  }
}
