import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Testbed } from '../testbed.ts'

/** Writes what the programs on all hosts said last to files that outlive the testbed, and returns their directory. */
export function saveLogs(testbed: Testbed): string {
  const directory = mkdtempSync(join(tmpdir(), 'xoffload-demo-'))
  for (const host of testbed.hosts) {
    for (const [index, each] of host.processes.entries()) {
      const text = `$ ${each.command.join(' ')}\n${each.stdout.text}${each.stderr.text}(${each.exitReason})\n`
      writeFileSync(join(directory, `${host.name}-${index + 1}-${basename(each.command[0] ?? '')}.log`), text)
    }
  }
  return directory
}
