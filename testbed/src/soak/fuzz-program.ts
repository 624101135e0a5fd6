// Feeds decoders in a process of its own, so that one that crashes or hangs can be told of. Prints the failures, one JSON string a line.
//   bun fuzz-program.ts run POSITION-FILE SEED INPUTS PART PARTS
//   bun fuzz-program.ts replay TARGET HEX
import { FuzzFailure, fuzz, replay } from '../../../packages/core/test/support/fuzz/index.ts'
import { FuzzPosition } from './fuzz-position.ts'
import { fuzzTarget, inputsOf } from './fuzz-targets.ts'

const [command, ...words] = process.argv.slice(2)
if (command === 'replay') again(words)
else if (command === 'run') run(words)
else throw new Error('usage: fuzz-program.ts run POSITION-FILE SEED INPUTS PART PARTS | replay TARGET HEX')

function again([name = '', hex = '']: readonly string[]): void {
  const input = Uint8Array.fromHex(hex)
  try {
    replay(fuzzTarget(name), input)
    console.log(`${name} stands these ${input.length} bytes`)
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

function run([file = '', ...numbers]: readonly string[]): void {
  const [seed = 0, inputs = 0, part = 0, parts = 1] = numbers.map(Number)
  const position = new FuzzPosition(file)
  for (const [place, { target, count }] of inputsOf(inputs).entries()) {
    const share = Math.ceil((count - part) / parts)
    try {
      const onInput = (index: number) => position.set(place, index)
      fuzz(target, { seed, first: part, step: parts, count: share, onInput })
    } catch (error) {
      if (!(error instanceof FuzzFailure)) throw error
      console.log(JSON.stringify(error.message))
      process.exitCode = 1
    }
  }
}
