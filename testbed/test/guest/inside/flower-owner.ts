// A process that opens a device and puts rules, says so, and keeps them until it is killed: bun flower-owner KIND DEVICE RULES
import { FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { flowerKinds } from './flower-kinds.ts'

/** Its last argument. Throws for rules other than those that steer in mode `l2`. */
export function rulesToText(rules: readonly Rule[]): string {
  return JSON.stringify(
    rules.map((rule) => {
      if (rule.action !== 'steer' || rule.target.mode !== 'l2') throw new Error('only rules of mode l2 can be sent')
      return { key: Buffer.from(rule.flow.bytes).toString('hex'), mac: `${rule.target.mac}`, handoff: rule.handoff }
    }),
  )
}

function rulesOf(text: string): Rule[] {
  return JSON.parse(text).map(({ key, mac, handoff }: { key: string; mac: string; handoff?: Rule['handoff'] }) => ({
    action: 'steer',
    flow: FlowKey.from(Buffer.from(key, 'hex')),
    target: { mode: 'l2', mac: MacAddress.parse(mac) },
    ...(handoff === undefined ? {} : { handoff }),
  }))
}

if (import.meta.main) {
  const [name, device = '', rules = '[]'] = process.argv.slice(2)
  const kind = flowerKinds.find((known) => known.name === name)
  if (kind === undefined) throw new Error(`there is no redirector "${name}"`)
  const redirector = kind.create({ device })
  await redirector.open()
  for (const rule of rulesOf(rules)) await redirector.put(rule)
  process.stdout.write('ready\n')
  setInterval(() => {}, 1000)
}
