import { afterAll, expect, test } from 'bun:test'
import { type ConfigKind, loadConfig } from '../../src/config/index.ts'
import { ConfigFolder, gatewayToml, serverToml } from './support.ts'

const folder = new ConfigFolder()
afterAll(() => folder[Symbol.dispose]())

const file = '<folder>/xoffload.toml'
const endpoint = 'expected an address and a port to connect to, such as "192.0.2.1:7900" or "[2001:db8::1]:7900"'
const pem = '-----BEGIN PRIVATE KEY-----\\nsecret\\n-----END PRIVATE KEY-----'

/** Each row: what is changed in a good file, and the one problem that must come of it. */
const rows: [kind: ConfigKind, from: string, to: string, problem: string][] = [
  // Unknown keys
  ['gateway', 'device =', 'devise = "x"\ndevice =', 'devise: is no known key: did you mean "device"?'],
  [
    'gateway',
    'port = 80',
    'port = 80\nadress = "10.0.0.1"',
    'service.adress: is no known key: did you mean "address"?',
  ],
  ['gateway', 'proxy =', 'porxy =', 'servers[0].porxy: is no known key: did you mean "proxy"?'],
  [
    'gateway',
    '[[servers]]',
    '[limits]\nheadbytes = 1\n\n[[servers]]',
    'limits.headbytes: is no known key: did you mean "headBytes"?',
  ],
  [
    'gateway',
    'device =',
    'policy = "module"\ndevice =',
    'policy: is no known key here: did you mean "selection.policy"?',
  ],
  [
    'server',
    'gateways =',
    'colour = 1\ngateways =',
    'control.colour: is no known key: expected listen, ca, certificate, key or gateways',
  ],
  [
    'gateway',
    'device =',
    '__proto__ = 1\ndevice =',
    '__proto__: is no known key: expected name, device, log, service, control, servers, selection, nginx, redirector, api or limits',
  ],
  // Missing keys
  ['gateway', 'device = "eth0"', '', 'device: is missing: expected the name of a network device, 1 to 15 characters'],
  ['gateway', 'port = 80', '', 'service.port: is missing: expected a whole number from 1 to 65535'],
  ['gateway', 'control = "10.0.0.11:7900"', '', `servers[0].control: is missing: ${endpoint}`],
  [
    'server',
    '[application]\nmodule = "./app.ts"\nlisten = "10.0.0.11:8080"',
    '',
    'application: is missing: expected a table',
  ],
  // nginx in front
  ['gateway', '[control]', '[nginx]\n\n[control]', 'nginx.socket: is missing: expected the path of a socket'],
  [
    'gateway',
    '[control]',
    '[nginx]\nsocket = "s"\nselection = "upstream"\n\n[control]',
    'nginx.selection: expected "nginx" or "gateway", found "upstream"',
  ],
  [
    'gateway',
    '[control]',
    '[nginx]\nsocket = "s"\nusers = ["nosuchuser"]\n\n[control]',
    'nginx.users[0]: expected the name of a user in /etc/passwd, or a number, found "nosuchuser"',
  ],
  [
    'gateway',
    '[control]',
    `[nginx]\nsocket = "/${'s'.repeat(107)}"\n\n[control]`,
    'nginx.socket: expected a path of at most 107 bytes, found one of 108',
  ],
  // Either a module or a server program
  [
    'server',
    'module = "./app.ts"',
    '',
    'application.module: is missing: expected the path of a file, or a table `preload` or `nginx`',
  ],
  [
    'server',
    'module = "./app.ts"\nlisten = "10.0.0.11:8080"',
    'module = "./app.ts"\npreload = { socket = "s", listener = "0.0.0.0:80" }',
    'application.module: has no meaning together with `application.preload`: that program answers requests',
  ],
  [
    'server',
    'module = "./app.ts"\nlisten = "10.0.0.11:8080"',
    'preload = { socket = "s", listener = "0.0.0.0:80" }\nnginx = { socket = "s" }',
    'application.nginx: has no meaning together with `application.preload`: that program answers requests',
  ],
  [
    'server',
    'module = "./app.ts"\nlisten = "10.0.0.11:8080"',
    'preload = { socket = "s", listener = "0.0.0.0:80", users = ["root", "nosuchuser"] }',
    'application.preload.users[1]: expected the name of a user in /etc/passwd, or a number, found "nosuchuser"',
  ],
  [
    'server',
    'module = "./app.ts"\nlisten = "10.0.0.11:8080"',
    `preload = { socket = "/${'s'.repeat(107)}", listener = "0.0.0.0:80" }`,
    'application.preload.socket: expected a path of at most 107 bytes, found one of 108',
  ],
  [
    'server',
    'module = "./app.ts"\nlisten = "10.0.0.11:8080"',
    'preload = { socket = "s", listener = "10.0.0.11:7900" }',
    'application.preload.listener: expected another address and port than control.listen, found the same: "10.0.0.11 7900"',
  ],
  [
    'server',
    'address = "198.51.100.1"\nport = 80\n\n[application]\nmodule = "./app.ts"\nlisten = "10.0.0.11:8080"',
    'address = "2001:db8::1"\nport = 80\n\n[application]\npreload = { socket = "s", listener = "0.0.0.0:80" }',
    'application.preload.listener: expected an IPv6 listener (of nginx: "listen [::]:80 ipv6only=off"), because services[0] is IPv6',
  ],
  // Wrong types
  [
    'gateway',
    'name = "gateway"',
    'name = 7',
    'name: expected a host name: at most 64 letters, digits, "-", "_" and ".", found 7',
  ],
  ['gateway', 'port = 80', 'port = "80"', 'service.port: expected a whole number from 1 to 65535, found "80"'],
  ['gateway', 'port = 80', 'port = 80.5', 'service.port: expected a whole number from 1 to 65535, found 80.5'],
  ['gateway', 'port = 80', 'port = nan', 'service.port: expected a whole number from 1 to 65535, found null'],
  [
    'server',
    'gateways = ["gateway"]',
    'gateways = "gateway"',
    'control.gateways: expected a list of at least 1, found "gateway"',
  ],
  [
    'server',
    'gateways = ["gateway"]',
    'gateways = [true]',
    'control.gateways[0]: expected a host name: at most 64 letters, digits, "-", "_" and ".", found true',
  ],
  ['server', '[application]', '[[application]]', 'application: expected a table, found a list of 1'],
  // Out of range
  ['gateway', 'port = 80', 'port = 0', 'service.port: expected a whole number from 1 to 65535, found 0'],
  ['gateway', 'port = 80', 'port = 65536', 'service.port: expected a whole number from 1 to 65535, found 65536'],
  [
    'gateway',
    '[[servers]]',
    '[limits]\nheadBytes = 1\n\n[[servers]]',
    'limits.headBytes: expected a whole number from 256 to 1048576, found 1',
  ],
  [
    'server',
    'gateways = ["gateway"]',
    'gateways = []',
    'control.gateways: expected a list of at least 1, found an empty list',
  ],
  [
    'gateway',
    'device = "eth0"',
    'device = "a-very-long-device"',
    'device: expected the name of a network device, 1 to 15 characters, found "a-very-long-device"',
  ],
  [
    'gateway',
    'device = "eth0"',
    'device = "../eth0"',
    'device: expected the name of a network device, 1 to 15 characters, found "../eth0"',
  ],
  [
    'gateway',
    'name = "gateway"',
    'name = "*"',
    'name: expected a host name: at most 64 letters, digits, "-", "_" and ".", found "*"',
  ],
  ['gateway', 'device =', 'log = "debug"\ndevice =', 'log: expected "errors", "info" or "handoffs", found "debug"'],
  // Addresses
  [
    'gateway',
    '"198.51.100.1"',
    '"198.51.100.256"',
    'service.address: expected an IPv4 or IPv6 address, found "198.51.100.256"',
  ],
  ['gateway', '"198.51.100.1"', '"198.51.1"', 'service.address: expected an IPv4 or IPv6 address, found "198.51.1"'],
  ['gateway', '"198.51.100.1"', '"0.0.0.0"', 'service.address: expected an IPv4 or IPv6 address, found "0.0.0.0"'],
  [
    'gateway',
    '"198.51.100.1"',
    '"fe80::1%eth0"',
    'service.address: expected an IPv4 or IPv6 address, found "fe80::1%eth0"',
  ],
  ['gateway', '"10.0.0.11:7900"', '"s1.example:7900"', `servers[0].control: ${endpoint}, found "s1.example:7900"`],
  ['gateway', '"10.0.0.11:7900"', '"10.0.0.11"', `servers[0].control: ${endpoint}, found "10.0.0.11"`],
  ['gateway', '"10.0.0.11:7900"', '"10.0.0.11:70000"', `servers[0].control: ${endpoint}, found "10.0.0.11:70000"`],
  [
    'gateway',
    '"[2001:db8::12]:7900"',
    '"2001:db8::12:7900"',
    `servers[1].control: ${endpoint}, found "2001:db8::12:7900"`,
  ],
  ['gateway', '"10.0.0.11:7900"', '"0.0.0.0:7900"', `servers[0].control: ${endpoint}, found "0.0.0.0:7900"`],
  // What belongs together
  ['gateway', 'address = "198.51.100.1"', '', 'service: expected either "address" or "addresses", found none'],
  [
    'gateway',
    'port = 80',
    'port = 80\naddresses = ["10.0.0.1"]',
    'service: expected either "address" or "addresses", found both',
  ],
  [
    'gateway',
    'address = "198.51.100.1"',
    'addresses = ["::1", "0:0::1"]',
    'service.addresses[1]: expected another address than service.addresses[0], found the same: "::1 80"',
  ],
  [
    'gateway',
    'name = "s2"',
    'name = "s1"',
    'servers[1].name: expected another name than servers[0].name, found the same: "s1"',
  ],
  [
    'gateway',
    'name = "s2"',
    'name = "gateway"',
    'servers[1].name: expected another name than name, found the same: "gateway"',
  ],
  [
    'gateway',
    '"[2001:db8::12]:7900"',
    '"10.0.0.11:7900"',
    'servers[1].control: expected another endpoint than servers[0].control, found the same: "10.0.0.11 7900"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[selection]\npolicy = "consistent-hash"\n\n[[servers]]',
    'selection.key: is missing: expected what to hash with policy "consistent-hash"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[selection]\nkey = "path"\n\n[[servers]]',
    'selection.key: has a meaning only with policy "consistent-hash", found policy "round-robin"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[selection]\npolicy = "consistent-hash"\nkey = "header:"\n\n[[servers]]',
    'selection.key: expected "path", "client", "header:NAME" or "cookie:NAME", found "header:"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[selection]\npolicy = "module"\n\n[[servers]]',
    'selection.module: is missing: expected the path of a file with policy "module"',
  ],
  [
    'server',
    '"10.0.0.11:8080"',
    '"10.0.0.11:7900"',
    'application.listen: expected another address and port than control.listen, found the same: "10.0.0.11 7900"',
  ],
  // Redirectors
  [
    'gateway',
    '[[servers]]',
    '[redirector]\ntype = "dpdk"\n\n[[servers]]',
    'redirector.type: expected "tc" or "xdp", found "dpdk"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector]\ntype = "cx-flower"\n\n[[servers]]',
    'redirector.type: expected "tc" or "xdp", found "cx-flower", which cannot hold packets while a connection moves: combine it with one of them, as redirector.hardware.type = "cx-flower"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector]\nmode = "driver"\n\n[[servers]]',
    'redirector.mode: has a meaning only with type "xdp", found type "tc"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector]\ntype = "xdp"\nmode = "native"\n\n[[servers]]',
    'redirector.mode: expected "auto", "driver" or "generic", found "native"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector.hardware]\nvlan = 7\n\n[[servers]]',
    'redirector.hardware.type: is missing: expected "cx-flower", "agilio" or "flower"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector.hardware]\ntype = "xdp"\n\n[[servers]]',
    'redirector.hardware.type: expected "cx-flower", "agilio" or "flower", found "xdp"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector]\ntype = "xdp"\nhardware = { type = "flower" }\n\n[[servers]]',
    'redirector.hardware.type: expected "cx-flower" or "agilio" with type "xdp", found "flower", which runs in the kernel behind XDP and would see no packets: use it with type "tc"',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector.hardware]\ntype = "agilio"\nvlan = 4096\n\n[[servers]]',
    'redirector.hardware.vlan: expected a whole number from 0 to 4095, found 4096',
  ],
  [
    'gateway',
    '[[servers]]',
    '[redirector.hardware]\ntype = "agilio"\nminimumByte = 1\n\n[[servers]]',
    'redirector.hardware.minimumByte: is no known key: did you mean "minimumBytes"?',
  ],
  // Tunnels
  [
    'gateway',
    'name = "s2"',
    'name = "s2"\ntunnel = "gre"',
    'servers[1].tunnel: expected "vxlan" or "ipip", found "gre"',
  ],
  [
    'server',
    '[control]',
    '[tunnel]\nmode = "vxlan"\n\n[control]',
    'tunnel.address: is missing: expected an IPv4 or IPv6 address',
  ],
  [
    'server',
    '[control]',
    '[tunnel]\nmode = "ipip"\naddress = "10.0.0.11"\nport = 4789\n\n[control]',
    'tunnel.port: has a meaning only with mode "vxlan", found mode "ipip"',
  ],
  [
    'server',
    '[control]',
    '[tunnel]\nmode = "vxlan"\naddress = "10.0.0.11"\ndevice = "eth0"\n\n[control]',
    'tunnel.device: expected another device than device, found the same: "eth0"',
  ],
  // Files
  [
    'gateway',
    '"ca.crt"',
    '"nowhere.crt"',
    'control.ca: expected a file that can be read, found <folder>/nowhere.crt (there is no such file)',
  ],
  ['gateway', '"ca.crt"', '"."', 'control.ca: expected a file, found <folder>, which is none'],
  [
    'server',
    '"./app.ts"',
    '"./missing.ts"',
    'application.module: expected a file that can be read, found <folder>/missing.ts (there is no such file)',
  ],
  [
    'gateway',
    'key = "host.key"',
    `key = "${pem}"`,
    'control.key: expected a file that can be read, found PEM text: put it into a file and name the file',
  ],
]

test.each(rows)('%s: %j as %j', async (kind, from, to, problem) => {
  const good = kind === 'gateway' ? gatewayToml : serverToml
  expect(good).toContain(from)
  expect(await folder.problems(kind, good.replace(from, to))).toEqual([`${file}: ${problem}`])
})

test('all problems at once', async () => {
  const text = gatewayToml
    .replace('device = "eth0"', 'devise = "eth0"')
    .replace('port = 80', 'port = -1')
    .replace('"10.0.0.11:8080"', '8080')
  expect(await folder.problems('gateway', text)).toEqual([
    `${file}: device: is missing: expected the name of a network device, 1 to 15 characters`,
    `${file}: devise: is no known key: did you mean "device"?`,
    `${file}: service.port: expected a whole number from 1 to 65535, found -1`,
    `${file}: servers[0].proxy: ${endpoint}, found 8080`,
  ])
})

test('all problems of meaning at once', async () => {
  const text = gatewayToml.replace('"ca.crt"', '"a.crt"').replace('"host.crt"', '"b.crt"').replace('"s2"', '"s1"')
  expect(await folder.problems('gateway', text)).toHaveLength(3)
})

test('a flood of problems is cut', async () => {
  const text = JSON.stringify({
    ...(Bun.TOML.parse(gatewayToml) as object),
    servers: Array.from({ length: 5000 }, () => 1),
  })
  expect((await folder.problems('gateway', text, 'flood.json')).length).toBe(100)
})

test.each([
  [
    'a = 1\nb = \nc = 2\n',
    'xoffload.toml',
    "<folder>/xoffload.toml:2: is no TOML: Missing value after '='; values must be on the same line",
  ],
  ['name = "a"\n\nname = "b"\n', 'twice.toml', "<folder>/twice.toml:3: is no TOML: Cannot redefine key 'name'"],
  ['{\n"name": "a",\n"device": }\n', 'bad.json', "<folder>/bad.json:3: is no JSON: Unexpected token '}'"],
  ['', 'empty.json', '<folder>/empty.json: is no JSON: Unexpected EOF'],
  ['[]', 'list.json', '<folder>/list.json: expected a table, found an empty list'],
  ['name: a', 'config.yaml', '<folder>/config.yaml: expected a name that ends in .toml or .json, found ".yaml"'],
  [Uint8Array.of(0xff, 0xfe), 'binary.toml', '<folder>/binary.toml: is no UTF-8 text'],
  ['#'.repeat(1_048_577), 'huge.toml', '<folder>/huge.toml: has 1048577 bytes: at most 1048576 are expected'],
])('no configuration at all: %#', async (text, name, problem) => {
  expect(await folder.problems('gateway', text, name)).toEqual([problem])
})

test('a file that is not there', async () => {
  const path = `${folder.path}/absent.toml`
  await expect(loadConfig('server', path)).rejects.toThrow(`${path}: cannot be read: there is no such file`)
})
