import { X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'
import { checkCredentials, readCredentials } from '../../control/credentials.ts'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'

const DAY = 86_400_000
/** Certificates that end sooner than this deserve a warning, in days. */
const SOON = 30
const OTHERS = 0o007

/** Certificate, key and authority of the control channel: what they are, how long they are valid, who can read the key. */
export const certificatesCheck: Check = {
  name: 'certificates',
  async run({ config }) {
    if (config === undefined) return undefined
    const { name, control } = config
    const credentials = await readCredentials(control)
    checkCredentials(credentials, name)
    const authority = new X509Certificate(credentials.ca)
    const own = new X509Certificate(credentials.certificate)
    return worst([
      signature(own, authority),
      validity('the certificate', own),
      validity("the authority's certificate", authority),
      keyMode(control.key),
      ok(`the certificate is for ${name}, valid until ${own.validToDate.toISOString().slice(0, 10)}`),
    ])
  },
}

function signature(own: X509Certificate, authority: X509Certificate): Result | undefined {
  if (own.checkIssued(authority) && own.verify(authority.publicKey)) return undefined
  return failed('the certificate is not signed by the authority: take both from one run of "xoffload certs"')
}

function validity(what: string, { validFromDate, validToDate }: X509Certificate): Result | undefined {
  const now = Date.now()
  if (now < validFromDate.getTime())
    return failed(`${what} is valid from ${validFromDate.toISOString()} only: is the clock right?`)
  if (now > validToDate.getTime())
    return failed(`${what} has expired on ${validToDate.toISOString()}: make new ones with "xoffload certs"`)
  const days = Math.floor((validToDate.getTime() - now) / DAY)
  if (days < SOON) return warning(`${what} expires in ${days} days: make new ones with "xoffload certs"`)
  return undefined
}

function keyMode(path: string): Result | undefined {
  const mode = statSync(path).mode & 0o777
  if ((mode & OTHERS) === 0) return undefined
  return failed(`every user of this host can use the key: its mode is ${mode.toString(8)}; chmod 600 ${path}`)
}
