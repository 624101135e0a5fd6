import { readFileSync } from 'node:fs'
import { SetupFailure } from './failure.mjs'

/** Bits of `CapEff` in /proc/self/status (linux/capability.h). A container's root may lack them. */
const capabilities = { CAP_NET_ADMIN: 12n, CAP_NET_RAW: 13n, CAP_SYS_ADMIN: 21n }

/**
 * @param {string} name The command that asks.
 * @throws {SetupFailure} On another system than Linux, without root, or in a container whose root lacks a capability.
 */
export const requirePrivilege = (name) => {
  const hint = name === 'test' ? '; `npm test -- --tier pure` runs the tests that need neither Linux nor root' : ''
  if (process.platform !== 'linux') {
    throw new SetupFailure(`npm run ${name} needs Linux: it makes network namespaces and loads BPF programs${hint}.`)
  }
  if (process.getuid?.() !== 0) {
    throw new SetupFailure(
      `npm run ${name} needs root, because it makes network namespaces and loads BPF programs: run it with sudo${hint}.`,
    )
  }
  const effective = BigInt(
    `0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
  )
  const missing = Object.entries(capabilities).filter(([, bit]) => ((effective >> bit) & 1n) === 0n)
  if (missing.length > 0) {
    throw new SetupFailure(
      `npm run ${name} needs ${missing.map(([capability]) => capability).join(' and ')}, which root does not have here: ` +
        `start the container with these capabilities${hint}.`,
    )
  }
}
