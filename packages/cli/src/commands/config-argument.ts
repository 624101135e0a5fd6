/** The option that names a configuration file. */
export const configArgument = {
  type: 'string',
  alias: 'c',
  description: 'Configuration file, TOML or JSON',
  valueHint: 'FILE',
} as const

/** {@link configArgument} of a command that cannot do without. */
export const requiredConfigArgument = { ...configArgument, required: true } as const
