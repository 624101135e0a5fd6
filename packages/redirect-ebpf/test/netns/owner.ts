// Opens a redirector and puts the rules it is given: bun owner.ts DEVICE [FLOW-KEY-HEX=hold|MAC[@HANDOFF,EPOCH]]...
// XOFFLOAD_PINS is the option `pins`, XOFFLOAD_XDP the option `mode` of an XDP redirector; without it, it is one of tc.
// Says on one line of JSON how that went, and then waits to be killed.
import { FlowKey, MacAddress, RedirectorError, type Rule } from '@xoffload/core'
import { TcRedirector, type XdpChoice, XdpRedirector } from '@xoffload/redirect-ebpf'

const [device = '', ...rules] = process.argv.slice(2)

function parse(text: string): Rule {
  const [key = '', action = '', numbers] = text.split(/[=@]/)
  const flow = FlowKey.from(Buffer.from(key, 'hex'))
  const [handoff = 0, epoch = 0] = numbers?.split(',').map(Number) ?? []
  const reference = numbers === undefined ? {} : { handoff: { handoff, epoch } }
  if (action === 'hold') return { action, flow, ...reference }
  return { action: 'steer', flow, target: { mode: 'l2', mac: MacAddress.parse(action) }, ...reference }
}

try {
  const pins = process.env.XOFFLOAD_PINS
  const options = { device, ...(pins === undefined ? {} : { pins }) }
  const mode = process.env.XOFFLOAD_XDP as XdpChoice | undefined
  const redirector = mode === undefined ? new TcRedirector(options) : new XdpRedirector({ ...options, mode })
  await redirector.open()
  for (const rule of rules) await redirector.put(parse(rule))
  process.stdout.write(`${JSON.stringify({ opened: true })}\n`)
} catch (error) {
  if (!(error instanceof RedirectorError)) throw error
  process.stdout.write(`${JSON.stringify({ opened: false, reason: error.reason, message: error.message })}\n`)
  process.exit(0)
}
setInterval(() => {}, 1000)
