// A process that opens a device and puts rules, says so, and keeps them until it is killed: bun flower-owner KIND DEVICE RULES
import { rulesFromText } from '../../../../packages/redirect-ebpf/test/netns/conformance/rule-text.ts'
import { flowerKinds, hybridKinds } from './flower-kinds.ts'

const [name, device = '', rules = '[]'] = process.argv.slice(2)
const kind = [...flowerKinds, ...hybridKinds].find((known) => known.name === name)
if (kind === undefined) throw new Error(`there is no redirector "${name}"`)
const redirector = kind.create({ device })
await redirector.open()
for (const rule of rulesFromText(rules)) await redirector.put(rule)
process.stdout.write('ready\n')
setInterval(() => {}, 1000)
