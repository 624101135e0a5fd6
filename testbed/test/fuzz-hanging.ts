// A fuzz program whose decoder hangs or crashes at its third input: bun fuzz-hanging.ts run POSITION-FILE SEED INPUTS PART PARTS
import { FuzzPosition } from '../src/soak/fuzz-position.ts'

const [, file = '', , , part] = process.argv.slice(2)
const position = new FuzzPosition(file)
for (const index of [0, 1, 2]) position.set(3, index)
if (part === '0') for (;;) position.get()
process.kill(process.pid, 'SIGSEGV')
