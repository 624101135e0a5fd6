import type { Random } from '../../../../core/test/support/fuzz/index.ts'

/** A file that exists, wherever this is run. */
const file = import.meta.path

/** The text of a key that a user has put in place of its path. It must not come back in an error. */
export const SECRET = 'MIISECRET'
export const PEM_MARK = '-----BEGIN'
const pem = `${PEM_MARK} PRIVATE KEY-----\\n${SECRET}\\n-----END PRIVATE KEY-----`.replaceAll('\\n', '\n')

const gateway = {
  name: 'gateway',
  device: 'eth0',
  log: 'handoffs',
  service: { addresses: ['198.51.100.1', '2001:db8::1'], port: 80 },
  control: { ca: file, certificate: file, key: file },
  servers: [
    { name: 's1', control: '10.0.0.11:7900', proxy: '10.0.0.11:8080' },
    { name: 's2', control: '[2001:db8::12]:7900' },
  ],
  selection: { policy: 'consistent-hash', key: 'header:X-Key' },
  redirector: { type: 'xdp', mode: 'generic', hardware: { type: 'agilio', vlan: 7 } },
  limits: { headBytes: 8192, grace: 0 },
}

const server = {
  name: 's1',
  device: 'eth0',
  control: { listen: '10.0.0.11:7900', ca: file, certificate: file, key: file, gateways: ['gateway'] },
  services: [{ address: '198.51.100.1', port: 80 }],
  application: { module: file, listen: '10.0.0.11:8080' },
  limits: { flows: 10 },
}

/** Values that no key expects, or that some key nearly expects. */
const values: readonly ((random: Random) => unknown)[] = [
  () => null,
  (random) => random.oneIn(2),
  (random) => random.pick([-1, 0, 0.5, 1, 65_535, 65_536, 1e21, -1e308, Number.MAX_SAFE_INTEGER]),
  (random) =>
    random.pick(['', ' ', '\0', 'x'.repeat(300), '-', '0.0.0.0:0', '[::]:80', '1.2.3.4:65536', '::ffff:1.2.3.4']),
  (random) =>
    random.pick([pem, '/', '.', '..', '../../etc/passwd', 'header:', 'cookie:a b', 'unix:', 'unix:/x', '\ud800']),
  () => [],
  () => ({}),
  (random) => nested(random.length(2000)),
  repeated,
  (random) => structuredClone(random.pick([gateway, server])),
]

const keys = [
  '__proto__',
  'constructor',
  'toString',
  'length',
  '',
  '0',
  'servres',
  'a/b~c',
  'selection',
  'x'.repeat(500),
]

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { x: value }
  return value
}

/** A configuration as JSON, with some values replaced, added or taken away. */
export function structure(random: Random): string {
  const root = structuredClone(random.pick<typeof gateway | typeof server>([gateway, server]))
  if (random.oneIn(10)) Object.assign(root, { ['servers' in root ? 'servers' : 'services']: repeated(random) })
  if (random.oneIn(10)) Object.assign(root, { control: { ...('servers' in root ? gateway : server).control, ca: pem } })
  for (let count = random.length(5); count > 0; count--) change(random, root)
  return JSON.stringify(root)
}

/** Some hundred entries, each wrong in the same way. */
function repeated(random: Random): unknown[] {
  const entry = random.pick([7, { name: 's1', control: '10.0.0.11:7900' }, { address: '198.51.100.1', port: 80 }])
  return Array.from({ length: random.length(300) }, () => entry)
}

/** Goes down to a random place, and changes one entry there. */
function change(random: Random, root: object): void {
  let place = root as Record<string, unknown>
  for (;;) {
    const names = Object.keys(place)
    const known = Array.isArray(place) ? ['0', '1'] : keys
    const name = names.length === 0 || random.oneIn(6) ? random.pick(known) : random.pick(names)
    const value = Object.hasOwn(place, name) ? place[name] : undefined
    if (typeof value === 'object' && value !== null && !random.oneIn(4)) {
      place = value as Record<string, unknown>
      continue
    }
    if (random.oneIn(5)) delete place[name]
    // A key like __proto__ is to be a key of the file.
    else
      Object.defineProperty(place, name, {
        value: random.pick(values)(random),
        enumerable: true,
        writable: true,
        configurable: true,
      })
    return
  }
}
