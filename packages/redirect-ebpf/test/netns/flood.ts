// Writes one frame again and again into a port of a bridge, some 40,000 times a second, until stdin ends:
// bun flood.ts NAMESPACE-PATH PORT HEX-FRAME
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

while (!ended) {
  for (let count = 0; count < 50; count++) tap.write(frame)
  await Bun.sleep(1)
}
