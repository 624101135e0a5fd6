// Writes one frame again and again into a port of a bridge: bun flood.ts NAMESPACE-PATH PORT HEX-FRAME. Ends when stdin does.
import { spawnSync } from 'node:child_process'
import { enterNetworkNamespace, Tap } from '@xoffload/linux'

const [path = '', name = '', hex = ''] = process.argv.slice(2)
enterNetworkNamespace(path)
const tap = Tap.open({ name })
spawnSync('ip', ['link', 'set', name, 'master', 'br0'])
const frame = Buffer.from(hex, 'hex')

let ended = false
process.stdin.on('end', () => {
  ended = true
})
process.stdin.resume()
process.stdout.write('ready\n')

function burst(): void {
  for (let count = 0; count < 100; count++) tap.write(frame)
  if (!ended) setImmediate(burst)
  else process.exit(0)
}
burst()
