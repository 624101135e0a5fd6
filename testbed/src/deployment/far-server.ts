import type { Host } from '../host.ts'
import { ports } from './configuration.ts'
import { editConfiguration } from './edit-configuration.ts'

const DEVICE = 'eth1'
const ROUTER = ['10.78.0.1', 'fd79::1'] as const

/** The addresses of a server behind the router. */
export const farAddresses = { ipv4: '10.78.0.2', ipv6: 'fd79::2' } as const
/** The tunnel device that the agent makes there. */
export const farTunnel = 'xoffload0'

const withPrefix = (address: string): string => (address.includes(':') ? `${address}/64 nodad` : `${address}/24`)

/** Takes a host off the segment, and joins it to the router instead: it is in a subnet of its own. `neighbours` learn the way there. */
export async function moveAway({
  far,
  router,
  neighbours,
}: {
  readonly far: Host
  readonly router: Host
  readonly neighbours: readonly Host[]
}): Promise<void> {
  await router.ip(`link add far0 type veth peer name ${DEVICE} netns ${far.namespace}`, 'link set far0 up')
  await router.ip(...ROUTER.map((address) => `addr add ${withPrefix(address)} dev far0`))
  const forwarding = ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'].map((name) => `echo 1 >/proc/sys/net/${name}`)
  await router.run(['/bin/sh', '-e'], { input: `${forwarding.join('\n')}\n` })
  await far.ip('link set eth0 down', `link set ${DEVICE} up`)
  await far.ip(...Object.values(farAddresses).map((address) => `addr add ${withPrefix(address)} dev ${DEVICE}`))
  await far.ip(...ROUTER.map((address) => `route add default via ${address}`))
  for (const neighbour of neighbours) {
    await neighbour.ip(`route add 10.78.0.0/24 via ${router.ipv4}`, `route add fd79::/64 via ${router.ipv6}`)
  }
}

/** Changes the configuration file of a server that has moved away: gateways send packets to `address` there, through a tunnel. */
export function configureFarServer(file: string, mode: 'vxlan' | 'ipip', address: string = farAddresses.ipv4): void {
  editConfiguration(file, (config) => {
    Object.assign(config, { device: DEVICE, tunnel: { mode, address } })
    Object.assign(config.control as object, { listen: `${farAddresses.ipv4}:${ports.control}` })
    Object.assign(config.application as object, { listen: `${farAddresses.ipv4}:${ports.application}` })
  })
}

/** Changes a gateway's configuration file: the server of this name has moved away. */
export function configureFarGateway(file: string, name: string, mode: 'vxlan' | 'ipip'): void {
  editConfiguration(file, ({ servers }) => {
    const far = (servers as { readonly name: string }[]).find((server) => server.name === name)
    Object.assign(far as object, {
      control: `${farAddresses.ipv4}:${ports.control}`,
      proxy: `${farAddresses.ipv4}:${ports.application}`,
      tunnel: mode,
    })
  })
}
