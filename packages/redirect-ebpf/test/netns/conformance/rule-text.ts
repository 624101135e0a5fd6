import { FlowKey, MacAddress, type Rule, type SteerTarget } from '@xoffload/core'

/** Rules for another process, as JSON. */
export function rulesToText(rules: readonly Rule[]): string {
  return JSON.stringify(
    rules.map(({ flow, ...rule }) => ({ ...rule, key: Buffer.from(flow.bytes).toString('hex') })),
    (name, value: unknown) => (name === 'mac' ? String(value) : value),
  )
}

export function rulesFromText(text: string): Rule[] {
  const rules: (Rule & { key: string; target?: SteerTarget & { mac?: unknown } })[] = JSON.parse(text)
  return rules.map(({ key, target, ...rule }) => {
    const mac = target?.mac === undefined ? {} : { mac: MacAddress.parse(String(target.mac)) }
    return {
      ...rule,
      flow: FlowKey.from(Buffer.from(key, 'hex')),
      ...(target && { target: { ...target, ...mac } }),
    } as Rule
  })
}
