// What the guest's kernel has and others may lack. These run inside the guest.
import { afterEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { setOptionBytes } from '../../../../packages/linux/src/socket/options.ts'
import { runTool } from '../../../src/command.ts'

const namespaces: string[] = []
afterEach(async () => {
  for (const name of namespaces.splice(0)) await runTool(['ip', 'netns', 'delete', name])
})

async function addNamespace(name: string): Promise<void> {
  await runTool(['ip', 'netns', 'add', name])
  namespaces.push(name)
  await runTool(['ip', '-netns', name, 'link', 'set', 'lo', 'up'])
}

/** A namespace with a device `eth0` whose other end is here under the namespace's name. */
async function addHost(name: string, mac: string, address: string): Promise<void> {
  await addNamespace(name)
  const link = ['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name, 'address', mac]
  await runTool(link)
  await runTool(['ip', 'link', 'set', name, 'up'])
  await runTool(['ip', '-netns', name, 'address', 'add', address, 'dev', 'eth0'])
  await runTool(['ip', '-netns', name, 'link', 'set', 'eth0', 'up'])
  await runTool(['tc', 'qdisc', 'add', 'dev', name, 'clsact'])
}

test('these tests run inside the guest', () => {
  expect(readFileSync('/proc/sys/kernel/hostname', 'utf8')).toBe('guest\n')
})

test.each(['/sys/fs/bpf', '/sys/fs/cgroup', '/sys/kernel/debug', '/sys/kernel/tracing', '/dev/pts'])(
  '%s is mounted',
  (path) => {
    expect(readFileSync('/proc/mounts', 'utf8')).toContain(` ${path} `)
  },
)

test('flower, pedit, csum and mirred carry TCP to a server behind another address', async () => {
  await addHost('client', '02:00:00:00:00:01', '10.7.0.1/24')
  await addHost('server', '02:00:00:00:00:02', '10.7.0.2/24')
  await runTool(['ip', '-netns', 'client', 'neigh', 'add', '10.7.0.100', 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0'])
  await runTool(['ip', '-netns', 'server', 'neigh', 'add', '10.7.0.1', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0'])
  const towards =
    'filter add dev client ingress prio 1 protocol ip flower dst_ip 10.7.0.100 ip_proto tcp dst_port 80 ' +
    'action pedit ex munge eth dst set 02:00:00:00:00:02 munge ip dst set 10.7.0.2 munge tcp dport set 8080 pipe ' +
    'action csum ip4h tcp pipe action mirred egress redirect dev server'
  const back =
    'filter add dev server ingress prio 1 protocol ip flower src_ip 10.7.0.2 ip_proto tcp src_port 8080 ' +
    'action pedit ex munge ip src set 10.7.0.100 munge tcp sport set 80 pipe ' +
    'action csum ip4h tcp pipe action mirred egress redirect dev client'
  await runTool(['tc', '-batch', '-'], `${towards}\n${back}\n`)

  const serve = `Bun.listen({ hostname: '0.0.0.0', port: 8080, socket: { data(s, d) { s.write('got ' + d) } } }); console.log('up')`
  const server = Bun.spawn(['ip', 'netns', 'exec', 'server', process.execPath, '-e', serve], { stdout: 'pipe' })
  try {
    await server.stdout.getReader().read()
    const ask = `Bun.connect({ hostname: '10.7.0.100', port: 80, socket: {
      open(s) { s.write('hello') }, data(s, d) { process.stdout.write(d); s.end() } } })`
    const { stdout } = await runTool(['ip', 'netns', 'exec', 'client', process.execPath, '-e', ask])
    expect(stdout).toBe('got hello')
    expect((await runTool(['tc', '-s', 'filter', 'show', 'dev', 'client', 'ingress'])).stdout).toContain('not_in_hw')
  } finally {
    server.kill('SIGKILL')
    await server.exited
  }
})

test('netem loses what it is told to lose', async () => {
  await addHost('peer', '02:00:00:00:00:01', '10.7.0.1/24')
  await runTool(['ip', 'address', 'add', '10.7.0.9/24', 'dev', 'peer'])
  await runTool(['ip', 'neigh', 'add', '10.7.0.1', 'lladdr', '02:00:00:00:00:01', 'dev', 'peer'])
  await runTool(['tc', 'qdisc', 'add', 'dev', 'peer', 'root', 'netem', 'loss', '100%'])
  const before = await receivedBy('peer')
  const socket = await Bun.udpSocket({ connect: { hostname: '10.7.0.1', port: 9 } })
  for (let index = 0; index < 10; index++) socket.send('lost')
  socket.close()
  const { stdout } = await runTool(['tc', '-s', 'qdisc', 'show', 'dev', 'peer', 'root'])
  expect(Number(/dropped (\d+)/.exec(stdout)?.[1])).toBeGreaterThanOrEqual(10)
  expect(await receivedBy('peer')).toBe(before)
})

/** How many packets have arrived in the namespace. */
async function receivedBy(namespace: string): Promise<number> {
  const { stdout } = await runTool(['ip', '-netns', namespace, '-json', '-statistics', 'link', 'show', 'eth0'])
  return JSON.parse(stdout)[0].stats64.rx.packets
}

test('kTLS encrypts on one side and decrypts on the other', async () => {
  const received = Promise.withResolvers<string>()
  const encrypted = Promise.withResolvers<void>()
  using listener = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      open(socket) {
        useTls(descriptorOf(socket), TLS_RX)
        encrypted.resolve()
      },
      data: (_, bytes) => received.resolve(bytes.toString()),
    },
  })
  const client = await Bun.connect({ hostname: '127.0.0.1', port: listener.port, socket: { data() {} } })
  useTls(descriptorOf(client), TLS_TX)
  await encrypted.promise
  client.write('in the clear')
  expect(await received.promise).toBe('in the clear')
  client.end()
  const statistics = readFileSync('/proc/net/tls_stat', 'utf8')
  expect(statistics).toMatch(/^TlsTxSw\s+1$/m)
  expect(statistics).toMatch(/^TlsRxSw\s+1$/m)
  expect(statistics).toMatch(/^TlsDecryptError\s+0$/m)
})

// linux/tcp.h, linux/socket.h, linux/tls.h
const IPPROTO_TCP = 6
const TCP_ULP = 31
const SOL_TLS = 282
const TLS_TX = 1
const TLS_RX = 2

/** Both sides have the same keys: struct tls12_crypto_info_aes_gcm_128, TLS 1.2, everything else 0. */
function useTls(descriptor: number, direction: number): void {
  const parameters = new Uint8Array(40)
  new Uint16Array(parameters.buffer, 0, 2).set([0x0303, 51])
  setOptionBytes(descriptor, IPPROTO_TCP, TCP_ULP, new TextEncoder().encode('tls'), 'setsockopt(TCP_ULP)')
  setOptionBytes(descriptor, SOL_TLS, direction, parameters, 'setsockopt(SOL_TLS)')
}

/** Bun's type does not tell of it. */
function descriptorOf(socket: object): number {
  return (socket as { readonly fd: number }).fd
}
