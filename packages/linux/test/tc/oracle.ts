import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * The netlink message that `tc` sends for these arguments, byte for byte as strace(1) sees it. The kernel may refuse it (here it has no flower, no
 * clsact on lo, or gives no permission): it was sent before.
 */
export async function sentByTc(parameters: string): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'xoffload-tc-'))
  try {
    const log = join(folder, 'strace')
    const command = ['strace', '-e', 'trace=sendmsg', '-e', 'write=3', '-o', log, 'tc', ...parameters.split(' ')]
    const child = Bun.spawn(command, {
      stdout: 'ignore',
      stderr: 'pipe',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    })
    const complaint = await new Response(child.stderr).text()
    await child.exited
    const bytes = existsSync(log) ? dumpedBytes(readFileSync(log, 'utf8')) : []
    if (bytes.length === 0) throw new Error(`tc ${parameters} sent nothing: ${complaint}`)
    return Uint8Array.from(bytes)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The lines ` | 00010  00 01 ... 0f  ................ |` of strace's dump of the first sendmsg(2). */
function dumpedBytes(log: string): number[] {
  const bytes: number[] = []
  for (const [, offset, hexadecimal] of log.matchAll(/^ \| ([0-9a-f]+) {2}((?:[0-9a-f]{2} {1,2})+)/gm)) {
    if (Number.parseInt(offset as string, 16) !== bytes.length) break
    for (const byte of (hexadecimal as string).trim().split(/ +/)) bytes.push(Number.parseInt(byte, 16))
  }
  return bytes
}
