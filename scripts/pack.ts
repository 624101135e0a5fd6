// Builds every public package and packs it into packed/, ready for `npm publish FILE`. Prints the tarballs' paths.
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { buildPackage, packPackage, publicPackages } from './runner/packages.ts'

const root = dirname(import.meta.dir)
const destination = join(root, 'packed')

await mkdir(destination, { recursive: true })
for (const each of await publicPackages(root)) {
  const failure = await buildPackage(root, each)
  if (failure !== undefined) {
    process.stderr.write(`${each.name}:\n${failure}\n`)
    process.exitCode = 1
    break
  }
  process.stdout.write(`${await packPackage(each, destination)}\n`)
}
