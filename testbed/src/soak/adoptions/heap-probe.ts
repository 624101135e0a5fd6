// Loaded into a program before its own code (`bun --preload`): at SIGUSR2 it collects garbage, and says on stdout how much memory the
// objects take that are left. What the kernel says of a process is mostly how lazily its memory is given back.
import { heapStats } from 'bun:jsc'

let number = 0

process.on('SIGUSR2', () => {
  Bun.gc(true)
  const { heapSize, extraMemorySize } = heapStats()
  number += 1
  process.stdout.write(`${JSON.stringify({ event: 'heap', number, bytes: heapSize + extraMemorySize })}\n`)
})
