// Opens a redirector and puts the rules it is given: bun owner.ts DEVICE [FLOW-KEY-HEX=hold|MAC]...
// Says on one line of JSON how that went, and then waits to be killed.
import { FlowKey, MacAddress, RedirectorError, type Rule } from '@xoffload/core'
import { TcRedirector } from '@xoffload/redirect-ebpf'

const [device = '', ...rules] = process.argv.slice(2)

function parse(text: string): Rule {
  const [key = '', action = ''] = text.split('=')
  const flow = FlowKey.from(Buffer.from(key, 'hex'))
  if (action === 'hold') return { action, flow }
  return { action: 'steer', flow, target: { mode: 'l2', mac: MacAddress.parse(action) } }
}

try {
  const redirector = new TcRedirector({ device })
  await redirector.open()
  for (const rule of rules) await redirector.put(parse(rule))
  process.stdout.write(`${JSON.stringify({ opened: true })}\n`)
} catch (error) {
  if (!(error instanceof RedirectorError)) throw error
  process.stdout.write(`${JSON.stringify({ opened: false, reason: error.reason, message: error.message })}\n`)
  process.exit(0)
}
setInterval(() => {}, 1000)
