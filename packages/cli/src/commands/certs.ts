import { join } from 'node:path'
import { defineCommand } from 'citty'
import { createAuthority, issueCertificate, writeKeyPair } from '../certificates/index.ts'
import { reportErrors } from './report-errors.ts'

export const certsCommand = defineCommand({
  meta: {
    name: 'certs',
    description: 'Make a certificate authority and a certificate for each host, for the control channels',
  },
  args: {
    hosts: {
      type: 'positional',
      required: true,
      description: "The hosts' names, separated by commas",
      valueHint: 'gateway,server1',
    },
    directory: { type: 'string', alias: 'd', default: '.', description: 'Where the files go', valueHint: 'DIRECTORY' },
    days: { type: 'string', default: '365', description: 'How long the certificates are valid', valueHint: 'N' },
  },
  run: ({ args }) =>
    reportErrors(async () => {
      const days = Number(args.days)
      const authority = await createAuthority('xoffload', { days })
      const names = args.hosts.split(',')
      // All before the first file, so that a bad name leaves nothing half done.
      const pairs = await Promise.all(names.map((name) => issueCertificate(authority, { name, days })))
      await writeKeyPair(args.directory, 'ca', authority)
      for (const [index, pair] of pairs.entries()) {
        const { certificate, key } = await writeKeyPair(args.directory, names[index] ?? '', pair)
        console.log(`${certificate} and ${key}: for host ${names[index]}, together with ca.crt`)
      }
      console.log(`Keep ${join(args.directory, 'ca.key')} away from the hosts: it signs certificates for further ones.`)
    }),
})
