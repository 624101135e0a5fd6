// Opens a redirector, puts rules, says so on one line, and waits to be killed: bun owner.ts SUBJECT RULES
import { rulesFromText } from './rule-text.ts'
import { subjects } from './subjects.ts'

const [name, rules = ''] = process.argv.slice(2)
const subject = subjects.find((known) => known.name === name)
if (subject === undefined) throw new Error(`there is no redirector "${name}"`)
const redirector = subject.create({}, (part) => part)
await redirector.open()
for (const rule of rulesFromText(rules)) await redirector.put(rule)
process.stdout.write('ready\n')
setInterval(() => {}, 1000)
